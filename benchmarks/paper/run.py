"""Does SLCA help? The experiment of benchmarks/experiment.md, by one command.

    SAMCACHE_DATA=… SAMCACHE_WEIGHTS=… python benchmarks/paper/run.py WORK

Stores, choices and runs lie below WORK; the last part writes results/, benchmarks/experiment.md and
its figures from every run that is finished. Every part goes on where it was interrupted.

A run's rows in results/ stay until the same run is finished again, so another machine may train
what is missing (--only, --run). There, results/choices.csv copied into WORK holds the choice.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from choosing import score_candidates
from end_in_one_line import end_in_one_line
from experiment import RUNS, Dataset, Experiment
from experiment_page import HERE, PAGE, PICTURES, page, read_tables
from extraction import extract_features
from figures import draw_figures
from tables import write_tables
from training import train_runs

PARTS = ("extract", "choose", "train", "tables")


def main() -> None:
    """Run the parts in their order."""
    experiment = Experiment()
    names = [dataset.name for dataset in experiment.datasets]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--only", choices=names, help="extract, choose and train this data set")
    parser.add_argument("--run", choices=RUNS, nargs="+", default=RUNS, help="train these alone")
    asked = parser.parse_intermixed_args()  # an option may stand between the parts
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"PART {unknown.pop()} should be one of {', '.join(PARTS)}")
    asked.work.mkdir(parents=True, exist_ok=True)
    datasets = tuple(d for d in experiment.datasets if asked.only in (None, d.name))
    for part in PARTS:
        if part in (asked.parts or PARTS):
            _run(part, experiment, datasets, asked.work.resolve(), tuple(asked.run))


def _run(
    part: str,
    experiment: Experiment,
    datasets: tuple[Dataset, ...],
    work: Path,
    names: tuple[str, ...],
) -> None:
    """One part, of all data sets but for tables of those that were asked for."""
    if part == "extract":
        for dataset in datasets:
            extract_features(dataset, work)
    elif part == "choose":
        for dataset in datasets:
            score_candidates(experiment, dataset, work)
    elif part == "train":
        train_runs(experiment, datasets, work, names)
    else:
        results = HERE / "results"
        write_tables(experiment, work, results)
        tables = read_tables(results)
        drawn = tables["scores"], tables["differences"], experiment.datasets
        draw_figures(*drawn, PICTURES)
        PAGE.write_text(page(results), "utf-8")


if __name__ == "__main__":
    end_in_one_line(main)
