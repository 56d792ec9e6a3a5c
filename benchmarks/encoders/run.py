"""Which frozen encoder carries signal? The comparison of docs/encoders.md, by one command.

    SAMCACHE_DATA=… SAMCACHE_WEIGHTS=… python benchmarks/encoders/run.py WORK

Stores, probes and runs lie below WORK; the last part writes results/ and docs/encoders.md from all
that is finished. The same command resumes after an interruption.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "paper"))

from compared_encoders import DATASETS, ENCODERS, HERE, TRAINED, list_cells
from encoder_page import PAGE, make_page
from end_in_one_line import end_in_one_line
from experiment import missing_images
from extract_stores import extract_store
from measure_costs import measure_costs
from probe_stores import probe_store
from training import train_once
from write_tables import write_tables

PARTS = ("extract", "probe", "train", "costs", "tables")


def main() -> None:
    """Run the parts in their order."""
    names = [one.name for one in DATASETS] + [one.short for one in TRAINED]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument(
        "--only", choices=names, nargs="+", default=[], help="only these data sets and encoders"
    )
    asked = parser.parse_intermixed_args()  # an option may stand between the parts
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"PART {unknown.pop()} should be one of {', '.join(PARTS)}")
    asked.work.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if part in (asked.parts or PARTS):
            _run(part, asked.work.resolve(), tuple(asked.only))


def _run(part: str, work: Path, only: tuple[str, ...]) -> None:
    """One part; costs and tables are always those of all that is finished."""
    if part == "costs":
        measure_costs(work)
        return
    if part == "tables":
        write_tables(work, HERE / "results")
        PAGE.write_text(make_page(HERE / "results"), "utf-8")
        return
    for cell in list_cells(only, TRAINED if part == "train" else ENCODERS):
        if part == "extract":
            extract_store(cell, work)
            continue
        if missing_images(work / cell.store) != 0:
            sys.exit(f"{cell.store} is not there, or lacks images: run the part extract first")
        if part == "probe":
            probe_store(cell, work)
        else:
            train_once(cell.training, work)


if __name__ == "__main__":
    end_in_one_line(main)
