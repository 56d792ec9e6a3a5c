"""The splits of a source: drawn where a source has none."""

import numpy as np
import pandas as pd

from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import SPLITS


def draw_splits(samples: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Draw train, val and test (70, 10, 20 %) within each class, keeping groups whole.

    A group goes where its first sample's class sends it. Each class of at least three groups has
    one in every split; samples without labels count as one class. Same table and seed, same split.
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


def describe_draw(seed: int, classes: tuple[str, ...], grouped: bool = True) -> str:
    """How ``draw_splits`` drew, as the origin of a source's splits."""
    parts = ["70/10/20 %", *(["stratified"] if classes else []), *(["groups whole"] * grouped)]
    return f"{DRAWN}{', '.join(parts)}, seed {seed}"
