"""Small stores of known content, for tests of the cache alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.commit import commit_shard
from samcache.cache.create import create_store
from samcache.cache.format.commit_record import make_commit_key, make_spare_key
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.objects.base import Objects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import ShardContent, Store

SHAPES = {"patch": (4, 6, 6), "neck": (3, 2, 2)}
IDENTITY = Identity("vit_b", "0" * 64, "sam", 96, 8, tuple(SHAPES), 1)


def samples(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"image {row} é" for row in range(rows)],
            "label": [row % 2 for row in range(rows)],
            "split": ["train" if row % 3 else "test" for row in range(rows)],
            "group": ["" for _ in range(rows)],
        }
    )


def create(
    path: str | Path,
    rows: int = 10,
    rows_per_shard: int = 4,
    identity: Identity = IDENTITY,
    objects: Objects | None = None,
) -> Store:
    description = Description(
        identity, Dataset("toy", ("a", "b"), "source"), rows_per_shard, SHAPES
    )
    return create_store(path, objects or open_objects(path), description, samples(rows))


def content(store: Store, shard: int, seed: int = 0, **changes: Any) -> ShardContent:
    """Known random values; keywords replace fields of ShardContent."""
    start, stop = store.layout.find_rows(shard)
    rng = np.random.default_rng([seed, shard])
    blocks: dict[str, Any] = {}
    for path, spec in store.arrays.items():
        shape = (stop - start, *spec.row)
        values = rng.integers(0, 255, shape) if path == "images" else rng.random(shape)
        blocks[path] = values.astype(spec.dtype)
    fields: dict[str, Any] = {
        "blocks": blocks,
        "sources": tuple(f"{row:064x}" for row in range(start, stop)),
        "failures": {},
    }
    return ShardContent(**{**fields, **changes})


def full_store(path: str | Path, **layout: Any) -> Store:
    """Ten rows in three shards, all committed."""
    store = create(path, **layout)
    for shard in range(store.layout.shards):
        assert commit_shard(store, shard, content(store, shard))
    return Store(path, layout.get("objects"))


def everything(store: Store) -> dict[str, bytes]:
    """Every object of a store, by key."""
    return {key: store.objects.get(key) for key in store.objects.list_objects("")}


def uncommit(store: Store, shard: int) -> None:
    """Remove a commit record and its spare, as if the shard had never been finished."""
    store.objects.delete([make_commit_key(shard), make_spare_key(shard)])
