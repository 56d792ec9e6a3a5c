"""Which samples a training sees: the members of a run, one for each seed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.cache.samples import SPLITS
from samcache.cache.store import Store


@dataclass(frozen=True)
class Member:
    """One training of a run: a seed, and the rows it learns from, chooses by and is tested on.

    train, val, test: rows of the readable samples, (m,) int64 on the CPU. fold: from 0 in
    cross-validation, None where the store's own splits are used. fraction: the share of the
    training rows that is used, in (0, 1].
    """

    seed: int
    fold: int | None
    fraction: float
    train: Tensor
    val: Tensor
    test: Tensor

    @property
    def name(self) -> str:
        """A file name's stem, such as "seed-0" or "seed-0-fold-2-fraction-0.25"."""
        fold = "" if self.fold is None else f"-fold-{self.fold}"
        fraction = "" if self.fraction == 1 else f"-fraction-{self.fraction:g}"
        return f"seed-{self.seed}{fold}{fraction}"


def readable_samples(store: Store) -> pd.DataFrame:
    """The samples that can be trained on, in the store's order, numbered from 0."""
    return store.samples[store.samples["status"] == "ok"].reset_index(drop=True)


def plan_members(
    samples: pd.DataFrame, classes: tuple[str, ...], seeds: tuple[int, ...]
) -> list[Member]:
    """One member a seed; raises ConfigError where a split or class cannot be trained on."""
    _check_splits(samples, classes)
    train, val, test = (_rows(samples["split"] == split) for split in SPLITS)
    return [Member(seed, None, 1.0, train, val, test) for seed in seeds]


def _rows(chosen: pd.Series) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen.to_numpy()))


def _check_splits(samples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    for split in SPLITS:
        chosen = samples[samples["split"] == split]
        if chosen.empty:
            raise ConfigError(
                f"split {split} holds no readable samples: training needs train, val and test; "
                "add them to the source, or leave its splits out to have them drawn"
            )
        absent = sorted(set(range(len(classes))) - set(chosen["label"]))
        if absent:
            raise ConfigError(
                f"class {classes[absent[0]]!r} has no readable sample in split {split}: every "
                "class needs one in every split"
            )
