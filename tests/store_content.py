"""Small stores of known content, for tests of the cache alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from samcache.cache.identity import Identity
from samcache.cache.layout import Layout
from samcache.cache.statistics import Moments
from samcache.cache.store import Dataset, ShardContent, Store

SHAPES = {"patch": (4, 6, 6), "neck": (3, 2, 2)}


def samples(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"image {row} é" for row in range(rows)],
            "label": [row % 2 for row in range(rows)],
            "split": ["train" if row % 3 else "test" for row in range(rows)],
            "group": ["" for _ in range(rows)],
        }
    )


def create(path: Path, rows: int = 10, rows_per_shard: int = 4) -> Store:
    identity = Identity("vit_b", "0" * 64, "sam", 96, 8, tuple(SHAPES), 1)
    layout = Layout(rows, rows_per_shard, SHAPES)
    dataset = Dataset("toy", ("a", "b"), "source")
    return Store.create(path, identity, dataset, samples(rows), layout, {})


def content(store: Store, shard: int, seed: int = 0) -> ShardContent:
    start, stop = store.layout.rows_of(shard)
    rng = np.random.default_rng([seed, shard])
    features = {
        level: rng.standard_normal((stop - start, 1, *shape)).astype(np.float16)
        for level, shape in SHAPES.items()
    }
    images = rng.integers(0, 255, (stop - start, 8, 8, 3), dtype=np.uint8)
    moments = {
        level: Moments(10, rng.standard_normal(shape[0]), rng.random(shape[0]))
        for level, shape in SHAPES.items()
    }
    sources = tuple(f"{row:064x}" for row in range(start, stop))
    return ShardContent(features, images, moments, sources, {})


def full_store(path: Path) -> Store:
    """Ten rows in three shards, all committed."""
    store = create(path)
    for shard in range(store.layout.shards):
        store.commit(shard, content(store, shard))
    return Store(path, "r")
