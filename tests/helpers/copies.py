"""Copying small stores, and comparing what arrives, for tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_content import content, samples

from samcache.cache.care import copy as copying
from samcache.cache.care.copy import CopySummary, copy_store
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation
from samcache.cache.objects.base import Objects
from samcache.cache.store import Store

FEATURE = "features/patch/c/1/0/0/0/0"  # an object of the second shard


def copy(source: Store | Path, destination: Path | str) -> CopySummary:
    store = Store(source) if isinstance(source, Path) else source
    return copy_store(store, destination)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def copy_into(objects: Objects, source: Path | Store, patch: pytest.MonkeyPatch) -> CopySummary:
    with patch.context() as within:
        within.setattr(copying, "open_objects", lambda _: objects)
        return copy(source, objects.name)


def grow(path: Path) -> Store:
    """Four more samples in a fourth shard, committed, and one image dropped."""
    store = Store(path)
    new = samples(14)[10:].assign(row=range(12, 16))
    grown = add_generation(store, pd.concat([store.table[1:], new], ignore_index=True))
    assert commit_shard(grown, 3, content(grown, 3))
    return Store(path)


def check_valid(objects: Objects, source: Store) -> None:
    """No store yet, or a store whose committed shards are the source's."""
    if objects.find("zarr.json") is None:
        return
    partial = Store(objects.name, objects)
    pd.testing.assert_frame_equal(partial.table, source.table)
    for commit in partial.commits.values():
        for path in partial.arrays:
            np.testing.assert_array_equal(
                partial.read(path, *commit.rows), source.read(path, *commit.rows)
            )
