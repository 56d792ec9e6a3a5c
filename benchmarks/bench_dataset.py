"""How long an epoch over ``store.dataset`` takes, against ``RowReader`` reading the same rows.

    python benchmarks/bench_dataset.py OUTPUT [--images 1024] [--rounds 15]

A store of random numbers as in store_reading.py, of which an epoch reads the neck and the images of
all samples in a new order, in batches of 64. The ways take turns in a new order. Each time is
divided by that of a floor in the same round: RowReader, which reads in this process or in as many
workers of a DataLoader, and for standardized values RowReader and then the bare arithmetic, which
converts every sample to float32, subtracts and divides. Prints medians. CPU seconds, which other
work on the machine disturbs less, are those of this process and leave workers out. Workers are
forked before the first round.
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
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import samcache
from samcache.cache.rows import RowReader
from samcache.cache.store import Store

BATCH = 64
READ, SCALED = "RowReader", "RowReader and arithmetic"

Turn = tuple[float, float]  # wall and CPU seconds


class Rows(Dataset[Any]):
    """What RowReader reads, as tensors and nothing more, or with the arithmetic of scaling."""

    def __init__(self, store: Store, scaled: bool) -> None:
        self.reader, self.count = RowReader(store, ["features/neck", "images"]), store.layout.rows
        self.scaled = scaled

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, rows: Any) -> list[Any]:
        read = [torch.from_numpy(part) for part in self.reader.read(np.asarray(rows)).values()]
        return [scale(part) for part in read] if self.scaled else read


def scale(values: Tensor) -> Tensor:
    """Values (n, …) as float32, and two steps on each."""
    found = torch.from_numpy(np.empty(values.shape, np.float32))
    for own, sample in zip(found, values, strict=True):
        own.copy_(sample).sub_(0.5).div_(2.5)
    return found


def read_rows(rows: Rows) -> Callable[[], None]:
    """An epoch without a DataLoader."""
    generator = np.random.default_rng(0)

    def epoch() -> None:
        order = generator.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            # kept until the next is there, as a loop over a DataLoader keeps it
            _batch = rows.__getitems__(order[start : start + BATCH])

    return epoch


def load(dataset: Dataset[Any], workers: int, collate: Any) -> Callable[[], None]:
    """An epoch by a DataLoader."""
    loader = DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
    )

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
    read, scale_read = Rows(store, scaled=False), Rows(store, scaled=True)
    epochs = {(0, READ): read_rows(read), (0, SCALED): read_rows(scale_read)}
    epochs |= {(2, READ): load(read, 2, list), (2, SCALED): load(scale_read, 2, list)}
    floors = {READ: READ, SCALED: SCALED}
    for name, floor, dataset, collate in (
        ("dataset, as stored", READ, plain, samcache.collate_items),
        ("dataset, standardized", SCALED, scaled, samcache.collate_items),
        ("the same with PyTorch's default collate", SCALED, scaled, None),
    ):
        floors[name] = floor
        epochs |= {(workers, name): load(dataset, workers, collate) for workers in (0, 2)}
    seconds: dict[tuple[int, str], list[Turn]] = {way: [] for way in epochs}
    for number in range(options.rounds + 1):
        for way in random.sample(list(epochs), len(epochs)):
            begun, worked = time.perf_counter(), time.process_time()
            epochs[way]()
            if number:  # the first round warms up
                turn = time.perf_counter() - begun, time.process_time() - worked
                seconds[way].append(turn)
    print("| workers | way | floor | s an epoch | times floor | CPU s | times floor |")
    print("|---|---|---|---|---|---|---|")
    for workers, name in sorted(epochs):
        turns, floor = seconds[workers, name], floors[name]
        cells = [str(workers), name, floor]
        for kind in (0, 1) if workers == 0 else (0,):
            pairs = zip(turns, seconds[workers, floor], strict=True)
            cells.append(f"{median(turn[kind] for turn in turns):.3f}")
            cells.append(f"{median(own[kind] / bare[kind] for own, bare in pairs):.2f}")
        cells += ["-"] * (7 - len(cells))
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
