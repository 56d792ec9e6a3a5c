"""How fast a store is read into memory and verified, against ``np.load`` of the same bytes.

    python benchmarks/store_reading.py OUTPUT [--images 3072] [--repeats 15]

A store of random numbers in the shape of MobileSAM's five levels at 512 px, pool 4, with images of
256 px; the same arrays as .npy files beside it. All ways take turns in one process and medians are
printed. OUTPUT in a memory file system keeps the disk out of it. zarr-python reads the same store,
and zarrs does where it is installed.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import zarr

from samcache.cache.care.verify import verify
from samcache.cache.commit import commit_shard
from samcache.cache.create import create_store
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.objects.location import open_objects
from samcache.cache.store import ShardContent, Store
from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.model.pooling import divide_by_kernel

SHAPES = {
    "patch": (64, 32, 32),
    "early": (128, 16, 16),
    "middle": (160, 8, 8),
    "late": (320, 8, 8),
    "neck": (256, 8, 8),
}
POOL, FRAME, SHARD_ROWS = 4, 256, 64
NUMPY = "np.load, 1 thread"
PIPELINES = {
    "zarr-python": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


def write(folder: Path, images: int) -> Store:
    """Write store and .npy files; what earlier runs left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    location = folder / "random.zarr"
    identity = Identity("vit_t", "0" * 64, "sam", 512, FRAME, tuple(SHAPES), POOL)
    numbers = np.arange(images)
    samples = pd.DataFrame(
        {
            "id": [f"{number:06d}.png" for number in range(images)],
            "label": numbers % 2,
            "split": np.array(["train", "train", "train", "val", "test"])[numbers // 2 % 5],
            "group": "",
        }
    )
    made = Description(identity, Dataset("random", ("a", "b"), "source"), SHARD_ROWS, SHAPES)
    store = create_store(location, open_objects(location), made, samples)
    generator = np.random.default_rng(0)
    for shard in range(store.layout.shards):
        start, stop = store.layout.find_rows(shard)
        blocks = {}
        for path, spec in store.arrays.items():
            shape = (stop - start, *spec.row)
            if spec.dtype == "uint8":
                blocks[path] = generator.integers(0, 256, shape, np.uint8)
            else:
                values = generator.standard_normal(shape, np.float32)
                blocks[path] = np.abs(values).astype(spec.dtype)
        hashes = tuple(f"{row:064x}" for row in range(start, stop))
        commit_shard(store, shard, ShardContent(blocks, hashes, {}))
    store = Store(location)
    for path in store.arrays:
        np.save(npy(store, path), store.read(path, 0, images))
    return store


def npy(store: Store, path: str) -> Path:
    """The .npy file with the bytes of one array."""
    return Path(store.location).parent / f"{path.replace('/', '-')}.npy"


def read_npy(store: Store) -> Iterator[np.ndarray]:
    """Every array by ``np.load``, one thread."""
    return (np.load(npy(store, path)) for path in store.arrays)


def read_store(store: Store) -> Iterator[np.ndarray]:
    """Every array by ``Store.read``, every checksum checked."""
    return (store.read(path, 0, store.layout.rows) for path in store.arrays)


def read_store_unthreaded(store: Store) -> Iterator[np.ndarray]:
    """The same, shard by shard in one thread."""
    rows = store.rows_per_shard
    for path, spec in store.arrays.items():
        out = np.empty((store.layout.rows, *spec.row), spec.dtype)
        for start in range(0, len(out), rows):
            out[start : start + rows] = store.read(path, start, min(start + rows, len(out)))
        yield out


def read_zarr(store: Store, pipeline: str) -> Iterator[np.ndarray]:
    """Every array by zarr-python with one of its codec pipelines."""
    with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
        for path in store.arrays:
            array = zarr.open_array(f"{store.location}/{path}", mode="r")
            yield np.asarray(array[:])


def reading(store: Store) -> dict[str, Callable[[], Any]]:
    """Ways to have all arrays in memory, and to verify them, by their names in the table."""
    found: dict[str, Callable[[], Any]] = {
        NUMPY: lambda: list(read_npy(store)),
        "Store.read, 4 threads": lambda: list(read_store(store)),
        "Store.read, shard by shard, 1 thread": lambda: list(read_store_unthreaded(store)),
        "verify, 4 threads": lambda: verify(store),
    }
    if find_spec("zarrs"):
        found["zarrs, its own threads"] = lambda: list(read_zarr(store, "zarrs"))
    return found


def loading(store: Store) -> dict[str, Callable[[], Any]]:
    """What takes longer: training's own loading, and zarr-python."""

    def load(side: int) -> Callable[[], Any]:
        sides = divide_by_kernel(store, tuple(SHAPES), POOL)
        return lambda: load_training_data(InputPlan.of(store, sides, side))

    return {
        NUMPY: lambda: list(read_npy(store)),
        f"load for training, images at {FRAME} px": load(FRAME),
        "load for training, images at 224 px": load(224),
        "zarr-python, its own threads": lambda: list(read_zarr(store, "zarr-python")),
    }


def compare(ways: dict[str, Callable[[], Any]], repeats: int, amount: float) -> None:
    """Let each way take its turn, once to warm up, and print medians; amount: GB."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, function in ways.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    base = median(times[NUMPY][1:])
    print("| | seconds | GB/s | of np.load |\n|---|---|---|---|")
    for name, found in times.items():
        middle = median(found[1:])
        print(f"| {name} | {middle:.2f} | {amount / middle:.2f} | {base / middle:.0%} |")


def main() -> None:
    """Write the store, time everything in turn and print two tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--images", type=int, default=3072)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    store = write(options.output, options.images)
    assert all(map(np.array_equal, read_npy(store), read_store(store)))
    amount = sum(spec.row_bytes for spec in store.arrays.values()) * options.images / 1e9
    print(f"{options.images} images, {amount:.2f} GB\n")
    compare(reading(store), options.repeats, amount)
    print()
    compare(loading(store), max(1, options.repeats // 3), amount)


if __name__ == "__main__":
    main()
