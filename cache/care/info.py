"""What a store holds and lacks, as plain data for ``samcache cache info``."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import pandas as pd

from samcache.cache.format.layout import IMAGES, make_feature_path
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import count_classes, list_unused_classes
from samcache.cache.labels.duplicates import find_duplicates
from samcache.cache.store import Store


def describe(store: Store) -> dict[str, Any]:
    """Identity, counts, levels and completeness of a store, ready for JSON.

    ``counts`` is split -> class name (UNLABELLED without classes) -> readable committed samples;
    bytes are as stored.
    """
    samples, layout = store.samples, store.layout
    usable = samples[samples["status"] == "ok"]
    splits = [split for split in SPLITS if (samples["split"] == split).any()]
    failed = samples[samples["status"] == "unreadable"]
    duplicates = find_duplicates(samples)
    emptied = list_unused_classes(samples, store.dataset.classes)
    return {
        "location": store.location,
        "dataset": asdict(store.dataset),
        "fingerprint": store.fingerprint,
        "identity": asdict(store.identity),
        "samples": len(samples),
        "kept_columns": list(store.generation.kept),
        "readable": len(usable),
        "unreadable": dict(zip(failed["id"], failed["reason"], strict=True)),
        "missing": int((samples["status"] == "missing").sum()),
        "shards": {
            "total": layout.shards,
            "rows_each": layout.rows_per_shard,
            "committed": len(store.commits),
            "missing": store.list_pending(),
        },
        "counts": {split: _count_classes(store, usable, split, emptied) for split in splits},
        "classes_without_images": emptied,
        "levels": {
            level: _describe_level(*store.find_level(level)) for level in store.identity.levels
        },
        "images": {
            "shape": [layout.rows, *store.arrays[IMAGES].row] if IMAGES in store.arrays else None,
            "bytes": count_bytes(store, IMAGES) if IMAGES in store.arrays else 0,
        },
        "duplicates": [asdict(same) for same in duplicates],
        "leaks": sum(same.leaks for same in duplicates),
        "last_commit": max((c.written for c in store.commits.values()), default=None),
        "provenance": store.provenance,
    }


def _describe_level(store: Store, level: str) -> dict[str, Any]:
    path = make_feature_path(level)
    return {
        "shape": [store.layout.rows, *store.arrays[path].row],
        "dtype": store.identity.dtype,
        "bytes": count_bytes(store, path),
    }


def count_bytes(store: Store, path: str) -> int:
    """Committed bytes of one array, by its path in the store."""
    spec = store.arrays[path]
    return sum(
        commit.objects[spec.make_key(shard)].bytes for shard, commit in store.commits.items()
    )


def _count_classes(
    store: Store, usable: pd.DataFrame, split: str, emptied: Collection[str]
) -> dict[str, int]:
    """Samples of each class that is in use, by its name."""
    classes = store.dataset.classes
    sizes = count_classes(usable[usable["split"] == split], classes)
    return {name: size for name, size in sizes.items() if name not in emptied}
