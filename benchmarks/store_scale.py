"""How the work of a command grows with the samples of a store, apart from images and encoder.

    python benchmarks/store_scale.py OUTPUT [--rows 10000,100000,1000000] [--repeats 3]

Features are tiny, so that what is measured is tables, commit records and file names. Every step
runs in a process of its own. Memory is the process's peak; what its imports alone have taken stands
beside it.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from samcache.cache.care.info import describe
from samcache.cache.care.verify import verify
from samcache.cache.commit import Writer, commit_shard
from samcache.cache.create import create_store
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.objects.location import open_objects
from samcache.cache.store import ShardContent, Store
from samcache.extract.pipeline.read.reuse import KnownRows

LEVELS = ("patch", "early", "middle", "late", "neck")
SHARD_ROWS = 64  # the default of samcache extract
DRAWN = "drawn: 70/10/20 by seed 0"
WRITERS = 16
# in the order in which a store comes to be: half its shards are written before the first plan
STEPS = {
    "create": "create the store, empty",
    "half": "",
    "plan": "plan a resumed run, half done, --assume-unchanged",
    "plan_compared": "plan a resumed run, half done, hashes compared",
    "known": "look up known images, half done",
    "whole": "",
    "info": "info",
    "verify": "verify --fast",
    "opening": "open for training: table and moments",
}


def samples(rows: int) -> pd.DataFrame:
    """A table of ``rows`` samples, four to a group."""
    numbers = np.arange(rows)
    return pd.DataFrame(
        {
            "id": [f"images/site-a/{number:09d}.png" for number in range(rows)],
            "label": numbers % 2,
            "split": np.array(["train", "train", "train", "val", "test"])[numbers // 4 % 5],
            "group": [f"patient {number // 4:08d}" for number in range(rows)],
        }
    )


def sha256(row: int) -> str:
    """What stands for the hash of a sample's source bytes."""
    return f"{row:064x}"


def create(location: Path, rows: int) -> Callable[[], Any]:
    """Create a store in place of an older one."""
    shutil.rmtree(location, ignore_errors=True)
    shapes = dict.fromkeys(LEVELS, (2, 1, 1))
    identity = Identity("vit_t", "0" * 64, "sam", 512, 0, LEVELS, 4)
    made = Description(identity, Dataset("scale", ("a", "b"), DRAWN), SHARD_ROWS, shapes)
    table = samples(rows)
    return lambda: create_store(location, open_objects(location), made, table)


def fill(location: Path, step: int) -> None:
    """Commit every ``step``-th shard that is not committed yet."""
    store = Store(location)

    def commit(shard: int) -> None:
        start, stop = store.layout.find_rows(shard)
        blocks = {
            path: np.ones((stop - start, *spec.row), spec.dtype)
            for path, spec in store.arrays.items()
        }
        commit_shard(store, shard, ShardContent(blocks, tuple(map(sha256, range(start, stop))), {}))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(commit, store.list_pending()[::step]))


def plan(location: Path, rows: int, assume_unchanged: bool) -> Callable[[], Any]:
    """What ``samcache extract`` does until it knows which rows to encode; images cost no time."""
    from samcache.extract.changes import find_places
    from samcache.extract.options import ExtractOptions
    from samcache.extract.pipeline.ranks import Division
    from samcache.extract.pipeline.read.read_ahead import Work
    from samcache.extract.run import update_table
    from samcache.extract.sources.base import Source, SourceImage
    from samcache.extract.sources.source_hashes import SourceHashes
    from samcache.extract.target import Target

    class Table(Source):
        """A source whose images are not there, but whose hashes are known."""

        def read_image(self, row: int) -> SourceImage:
            return SourceImage(sha256(row), lambda: Image.new("RGB", (1, 1)))

        def take(self, rows: list[int]) -> Source:
            raise NotImplementedError

    source = Table("scale", ("a", "b"), samples(rows), DRAWN)
    options = ExtractOptions(Path(), location, "vit_t", assume_unchanged=assume_unchanged)
    unused = dict.fromkeys(("checkpoint", "encoder", "identity", "shapes"))
    target = Target(options, source, source.samples, **unused)  # type: ignore[arg-type]

    def planned() -> None:
        store, share = Store(location), Division()
        writer, hashes = Writer(location), SourceHashes(source, lambda *_: None)
        store, _ = update_table(store, target, share, writer, hashes, lambda *_: None)
        work = Work(store, source, find_places(store, source.samples), KnownRows(), share)
        assert sum(len(work.list_rows(shard)) for shard in work.list_pending()) > 0

    return planned


def opening(location: Path) -> None:
    """Open a store as training does, but for images and features."""
    store = Store(location)
    assert (store.samples["status"] == "ok").all()
    store.read_moments()


def prepare(step: str, location: Path, rows: int) -> Callable[[], Any]:
    """Import and make what a step needs; the step itself is the function that comes back."""
    if step == "create":
        return create(location, rows)
    if step.startswith("plan"):
        return plan(location, rows, assume_unchanged=step == "plan")
    return {
        "half": lambda: fill(location, 2),
        "whole": lambda: fill(location, 1),
        "known": lambda: KnownRows([Store(location)]),
        "info": lambda: json.dumps(describe(Store(location))),
        "verify": lambda: verify(Store(location), fast=True),
        "opening": lambda: opening(location),
    }[step]


def peak() -> float:
    """The most memory that this process has had, MB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(step: str, location: Path, rows: int) -> dict[str, float]:
    """One step in this process: seconds, and memory before and after."""
    if step.startswith("plan"):
        import samcache.extract.run  # noqa: F401  torch, which planning does not use, and all else
    imported = peak()
    function = prepare(step, location, rows)
    started = time.perf_counter()
    function()
    return {"seconds": time.perf_counter() - started, "peak": peak(), "imported": imported}


def main() -> None:
    """Measure every step for every size and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(rows) for rows in options.rows.split(",")]
    if options.step:
        print(json.dumps(measure(options.step, options.output, sizes[0])))
        return
    print("| samples | step | seconds | peak MB | of them imports |\n|---|---|---|---|---|")
    for rows in sizes:
        for step, title in STEPS.items():
            location = options.output / f"{rows}.zarr"
            words = [sys.executable, __file__, location, "--rows", str(rows), "--step", step]
            outputs = [
                subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout
                for _ in range(options.repeats if title else 1)
            ]
            found = [json.loads(output) for output in outputs]
            seconds, most, imports = (
                median(one[key] for one in found) for key in ("seconds", "peak", "imported")
            )
            if title:
                print(f"| {rows:,} | {title} | {seconds:.2f} | {most:.0f} | {imports:.0f} |")


if __name__ == "__main__":
    main()
