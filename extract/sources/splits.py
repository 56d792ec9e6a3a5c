"""The splits of a source: names of splits, and drawing splits where a source has none."""

import numpy as np
import pandas as pd

from samcache.cache.format.samples import SPLITS

_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def find_split(text: str) -> str | None:
    """The split that a word means ("valid", "Training", …), or None."""
    return _SPLIT_NAMES.get(text.strip().lower())


def draw_splits(samples: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Draw train, val and test (70, 10, 20 %) within each class, keeping groups whole.

    A group goes where its first sample's class sends it. Each class of at least three groups has
    one in every split. Same table and seed, same split.
    """
    groups = samples["group"].where(samples["group"] != "", samples["id"])
    generator = np.random.default_rng(seed)
    chosen: dict[str, str] = {}
    labels = samples.groupby(groups, sort=True)["label"].first()
    for label in sorted(labels.unique()):
        members = generator.permutation(labels.index[labels == label].to_numpy(dtype=object))
        val = max(1, round(0.1 * len(members)))
        test = max(1, round(0.2 * len(members)))
        train = max(1, len(members) - val - test)
        for place, group in enumerate(members):
            chosen[group] = SPLITS[0 if place < train else 1 if place < train + val else 2]
    return groups.map(chosen)
