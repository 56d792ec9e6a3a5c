"""A tiny source, and the type of the fixture that extracts it with the tiny encoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from samcache.cache.store import Store
from samcache.extract.summary import ExtractSummary

Extract = Callable[..., tuple[Store, ExtractSummary]]


def write_npz(path: Path, counts: tuple[int, int, int] = (24, 8, 8), classes: int = 2) -> Path:
    """A MedMNIST-shaped file; later classes are brighter, so there is something to learn."""
    rng = np.random.default_rng(7)
    arrays = {}
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        labels = np.arange(count) % classes
        noise = rng.integers(0, 120, (count, 20, 20))
        arrays[f"{split}_images"] = (noise + 60 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(path, **arrays)
    return path
