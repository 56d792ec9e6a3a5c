"""How long an epoch over ``store.dataset`` takes, against ``RowReader`` reading the same rows.

    python benchmarks/bench_dataset.py OUTPUT [--images 1024] [--rounds 15]

A store of random numbers as in store_reading.py, of which an epoch reads the neck and the images of
all samples in a new order, in batches of 64. The ways take turns in a new order;
each time is divided by that of RowReader in the same round, which reads in this process or in as
many workers of a DataLoader. Prints medians. Workers are forked before the first round.
"""

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from store_reading import write
from torch.utils.data import DataLoader, Dataset

import samcache
from samcache.cache.rows import RowReader
from samcache.cache.store import Store

BATCH = 64


class Rows(Dataset[Any]):
    """What RowReader reads, as tensors and nothing more."""

    def __init__(self, store: Store) -> None:
        self.reader, self.count = RowReader(store, ["features/neck", "images"]), store.layout.rows

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [torch.from_numpy(part) for part in self.reader.read(np.asarray(rows)).values()]


def read_rows(store: Store) -> Callable[[], None]:
    """An epoch by RowReader alone."""
    rows, generator = Rows(store), np.random.default_rng(0)

    def epoch() -> None:
        order = generator.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            # kept until the next is there, as a loop over a DataLoader keeps it
            _batch = rows.reader.read(order[start : start + BATCH])

    return epoch


def load(dataset: Dataset[Any], workers: int, **options: Any) -> Callable[[], None]:
    """An epoch by a DataLoader."""
    options |= {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(dataset, BATCH, shuffle=True, **options)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = write(options.output, options.images)
    opened = samcache.open(store.location)
    plain, scaled = (opened.dataset(None, standardize=which) for which in (False, True))
    epochs = {
        (0, "RowReader"): read_rows(store),
        (0, "dataset, as stored"): load(plain, 0),
        (0, "dataset, standardized"): load(scaled, 0),
        (2, "RowReader"): load(Rows(store), 2, collate_fn=list),
        (2, "dataset, as stored"): load(plain, 2),
        (2, "dataset, standardized"): load(scaled, 2),
    }
    seconds: dict[tuple[int, str], list[float]] = {way: [] for way in epochs}
    for number in range(options.rounds + 1):
        for way in random.sample(list(epochs), len(epochs)):
            begun = time.perf_counter()
            epochs[way]()
            if number:  # the first round warms up
                seconds[way].append(time.perf_counter() - begun)
    print("| workers | way | s an epoch | times RowReader |\n|---|---|---|---|")
    for (workers, name), own in seconds.items():
        ratio = median(a / b for a, b in zip(own, seconds[workers, "RowReader"], strict=True))
        print(f"| {workers} | {name} | {median(own):.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
