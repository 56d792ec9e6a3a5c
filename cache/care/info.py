"""What a store holds and lacks, as plain data for ``samcache cache info``."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from samcache.cache.format.layout import IMAGES, feature_path
from samcache.cache.format.precision import Precision
from samcache.cache.format.reading import Reading
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import unused_classes
from samcache.cache.labels.duplicates import find_duplicates
from samcache.cache.store import Store
from samcache.cache.text import count_nouns

_MOST_ACROSS = 10  # classes in one row
_MOST_CLASSES = 20  # with a line of their own


def describe(store: Store) -> dict[str, Any]:
    """Identity, counts, levels and completeness of a store, ready for JSON.

    ``counts`` is split -> class name -> readable committed samples; bytes are as stored.
    """
    samples, layout = store.samples, store.layout
    usable = samples[samples["status"] == "ok"]
    splits = [split for split in SPLITS if (samples["split"] == split).any()]
    failed = samples[samples["status"] == "unreadable"]
    duplicates = find_duplicates(samples)
    emptied = unused_classes(samples, store.dataset.classes)
    return {
        "location": store.location,
        "dataset": asdict(store.dataset),
        "fingerprint": store.fingerprint,
        "identity": asdict(store.identity),
        "samples": len(samples),
        "readable": len(usable),
        "unreadable": dict(zip(failed["id"], failed["reason"], strict=True)),
        "missing": int((samples["status"] == "missing").sum()),
        "shards": {
            "total": layout.shards,
            "rows_each": layout.rows_per_shard,
            "committed": len(store.commits),
            "missing": store.pending(),
        },
        "counts": {split: _counts(store, usable, split, emptied) for split in splits},
        "classes_without_images": emptied,
        "levels": {
            level: {
                "shape": [layout.rows, *store.arrays[feature_path(level)].row],
                "dtype": store.identity.dtype,
                "bytes": bytes_of(store, feature_path(level)),
            }
            for level in store.identity.levels
        },
        "images": {
            "shape": [layout.rows, *store.arrays[IMAGES].row] if IMAGES in store.arrays else None,
            "bytes": bytes_of(store, IMAGES) if IMAGES in store.arrays else 0,
        },
        "duplicates": [asdict(same) for same in duplicates],
        "leaks": sum(same.leaks for same in duplicates),
        "last_commit": max((c.written for c in store.commits.values()), default=None),
        "provenance": store.provenance,
    }


def bytes_of(store: Store, path: str) -> int:
    """Committed bytes of one array, by its path in the store."""
    spec = store.arrays[path]
    return sum(commit.objects[spec.key(shard)].bytes for shard, commit in store.commits.items())


def _counts(
    store: Store, usable: pd.DataFrame, split: str, emptied: Collection[str]
) -> dict[str, int]:
    """Samples of each class that is in use, by its name."""
    classes = store.dataset.classes
    labels = usable.loc[usable["split"] == split, "label"]
    sizes = np.bincount(labels, minlength=len(classes))
    named = zip(classes, sizes, strict=True)
    return {name: int(size) for name, size in named if name not in emptied}


def render(description: dict[str, Any]) -> Group:
    """The description as aligned tables for a terminal, hashes cut to 16 digits."""
    identity, shards = description["identity"], description["shards"]
    missing, unreadable = description["missing"], description["unreadable"]
    repeated, leaks = len(description["duplicates"]), description["leaks"]
    state = f"{count_nouns(missing, 'image')} missing, run extract again" if missing else "complete"
    head = _table("", "")
    head.add_row(escape(description["dataset"]["name"]), state)
    for name, text in {
        "fingerprint": description["fingerprint"][:16],
        "encoder": f"{identity['encoder']} at {identity['image_size']} px, pool {identity['pool']}",
        "weights": f"SHA-256 {identity['weights'][:16]}",
        "images": f"{description['readable']} readable of {description['samples']}",
        "duplicates": f"{count_nouns(repeated, 'image')} occurring more than once, {leaks} of "
        "them across splits",
        "shards": f"{shards['committed']} of {shards['total']}, "
        f"{count_nouns(shards['rows_each'], 'image')} each",
    }.items():
        head.add_row(name, escape(text))
    reading = Reading.recorded(description["provenance"])
    if reading and reading.frames:
        head.add_row("DICOM frames", f"--frames {reading.frames}")
    if emptied := description["classes_without_images"]:
        head.add_row("left out", escape(f"classes without images: {', '.join(emptied)}"))
    parts: list[Table | str] = [
        head,
        "",
        _count_table(description["counts"]),
        "",
        _array_table(description),
    ]
    if precision := Precision.from_provenance(description["provenance"]):
        parts += ["", _precision_table(precision)]
    if unreadable:
        bad = _table("unreadable", "reason")
        for name, reason in unreadable.items():
            bad.add_row(escape(name), escape(reason))
        parts += ["", bad]
    return Group(*parts)


def _count_table(counts: dict[str, dict[str, int]]) -> Table:
    classes = list(next(iter(counts.values()), {}))
    if len(classes) > _MOST_ACROSS:
        return _long_count_table(classes, counts)
    table = _table("split", *map(escape, classes), "total", numbers_from=1)
    for split, row in counts.items():
        table.add_row(split, *map(str, row.values()), str(sum(row.values())))
    return table


def _long_count_table(classes: list[str], counts: dict[str, dict[str, int]]) -> Table:
    """A line a class; of many the first, and all others together."""
    table = _table("class", *counts, numbers_from=1)
    for name in classes[:_MOST_CLASSES]:
        table.add_row(escape(name), *(str(row[name]) for row in counts.values()))
    if rest := classes[_MOST_CLASSES:]:
        others = (sum(row[name] for name in rest) for row in counts.values())
        table.add_row(f"and {len(rest)} more", *map(str, others))
    table.add_row("total", *(str(sum(row.values())) for row in counts.values()))
    return table


def _array_table(description: dict[str, Any]) -> Table:
    table = _table("array", "shape", "type", "MB", numbers_from=3)
    arrays = dict(description["levels"])
    if description["images"]["shape"]:
        arrays["images"] = {**description["images"], "dtype": "uint8"}
    for name, entry in arrays.items():
        shape = " x ".join(map(str, entry["shape"]))
        table.add_row(name, shape, entry["dtype"], f"{entry['bytes'] / 1e6:.1f}")
    return table


def _precision_table(precision: Precision) -> Table:
    images = f"against float32, {count_nouns(precision.images, 'image')} on {precision.device}"
    table = _table(escape(images), "cosine", "least", "error", numbers_from=1)
    for level, *figures in precision.rows():
        table.add_row(escape(level), *figures)
    return table


def _table(*columns: str, numbers_from: int | None = None) -> Table:
    table = Table(box=None, show_header=any(columns), padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        right = numbers_from is not None and place >= numbers_from
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table
