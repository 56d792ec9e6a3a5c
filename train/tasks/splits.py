"""Which samples a training sees: the members of a run, over seeds, folds and fractions."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import list_unused_classes, list_used_classes, quote_names
from samcache.cache.labels.trainable import check_trainability
from samcache.cache.labels.units import number_groups, number_units
from samcache.cache.store import Store

Rows = npt.NDArray[np.int64]

_SEEDS = 2**32  # as many as every random generator accepts
_VAL_PARTS = (
    8  # cross-validation: one part in eight of the rows that are not held out chooses the epoch
)


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
        """The stem of its files."""
        return name_member(self.seed, self.fold, self.fraction)

    def assign_roles(self, count: int) -> npt.NDArray[np.object_]:
        """Each sample's part in this training, (count,): a split's name, or "" for none."""
        roles = np.full(count, "", dtype=object)
        for split, rows in zip(SPLITS, (self.train, self.val, self.test), strict=True):
            roles[rows.numpy()] = split
        return roles


def name_member(seed: int, fold: int | None, fraction: float) -> str:
    """The stem of a member's files, such as "seed-0" or "seed-0-fold-2-fraction-0.25"."""
    part = "" if fold is None else f"-fold-{fold}"
    short = f"{fraction:g}"
    exact = short if float(short) == fraction else repr(float(fraction))  # none shares a file
    share = "" if fraction == 1 else f"-fraction-{exact}"
    return f"seed-{seed}{part}{share}"


def list_trained_classes(store: Store) -> tuple[str, ...]:
    """The classes that a training has: those with at least one sample in the store's table."""
    return list_used_classes(store.table, store.dataset.classes)


def select_readable(store: Store) -> pd.DataFrame:
    """The samples that can be trained on, in the store's order, numbered from 0.

    Their column label indexes ``list_trained_classes``.
    """
    samples = store.samples[store.samples["status"] == "ok"].reset_index(drop=True)
    used = list_trained_classes(store)
    numbers = [used.index(name) if name in used else -1 for name in store.dataset.classes]
    return samples.assign(label=np.array(numbers, np.int64)[samples["label"].to_numpy()])


def plan_members(
    samples: pd.DataFrame,
    classes: tuple[str, ...],
    seeds: tuple[int, ...],
    folds: int | None = None,
    fractions: tuple[float, ...] = (1.0,),
) -> list[Member]:
    """Every training of a run, by fraction, then fold, then seed.

    Folds are the same for every seed, with groups and copies of an image whole; a seed draws its
    fractions of the training rows, each inside the larger ones. Raises ConfigError, with everything
    that is wrong, where seeds or fractions make no sense and where samples cannot be trained on.
    """
    problems = find_wrong_choices(seeds, fractions)
    if absent := list_unused_classes(samples, classes):
        problems.append(f"no readable sample is of class {quote_names(absent)}")
    found = check_trainability(samples, classes, "source", folds)
    if found.problems:
        problems.append(f"the samples {found.explain_refusal()}")
    if problems:
        raise ConfigError("; ".join(problems), name_hints(problems, found.hint))
    labels, groups = samples["label"].to_numpy(), number_groups(samples)
    if folds:
        divisions = _divide_into_folds(labels, number_units(samples), folds)
        _check_folds(labels, classes, divisions)
    else:
        divisions = _find_own_splits(samples)
    members = []
    for fraction in fractions:
        for fold, (train, val, test) in enumerate(divisions):
            for seed in seeds:
                kept = train[draw_subset(labels[train], groups[train], fraction, seed)]
                rows = (torch.from_numpy(part) for part in (kept, val, test))
                members.append(Member(seed, fold if folds else None, fraction, *rows))
    return members


def draw_subset(labels: Rows, groups: Rows, fraction: float, seed: int) -> Rows:
    """Places (m,) of a share of n samples, ascending: stratified, groups whole.

    labels, groups: (n,). A smaller fraction of the same seed is a subset of a larger one, and every
    class that occurs is kept. Groups are queued by chance, each in the queue of its rarest
    class, and taken from the queue until the fraction of its samples is reached.
    """
    if fraction == 1:
        return np.arange(len(labels))
    rarity = np.bincount(labels)[labels]
    table = pd.DataFrame({"group": groups, "label": labels, "rarity": rarity})
    units = table.sort_values(["rarity", "label"]).groupby("group")["label"].first()
    units = units.sample(frac=1, random_state=np.random.default_rng(seed))
    line = pd.DataFrame({"label": units, "size": table.groupby("group").size()}).loc[units.index]
    before = line.groupby("label")["size"].cumsum() - line["size"]
    whole = line.groupby("label")["size"].transform("sum")
    reached = before + line["size"] / 2 <= fraction * whole
    chosen = set(line.index[reached | (before == 0)])
    for label in set(labels.tolist()) - set(units):  # a class that only rarer ones' groups have
        holders = set(groups[labels == label].tolist())
        chosen.add(next(group for group in line.index if group in holders))
    return np.flatnonzero(np.isin(groups, list(chosen)))


def _find_own_splits(samples: pd.DataFrame) -> list[tuple[Rows, ...]]:
    return [tuple(np.flatnonzero((samples["split"] == split).to_numpy()) for split in SPLITS)]


def _divide_into_folds(labels: Rows, groups: Rows, folds: int) -> list[tuple[Rows, ...]]:
    """Train, val and test rows of each fold, over the samples of all splits."""
    divisions: list[tuple[Rows, ...]] = []
    for rest, test in _divide(labels, groups, folds):
        count = min(_VAL_PARTS, _count_smallest_class(labels[rest], groups[rest]))
        parts = _divide(labels[rest], groups[rest], max(2, count))
        classes = len(set(labels.tolist()))
        whole = [part for part in parts if all(len(set(labels[rest[p]])) == classes for p in part)]
        train, val = (whole or parts)[0]  # groups are few: not every part has every class
        divisions.append((rest[train], rest[val], test))
    return divisions


def _divide(labels: Rows, groups: Rows, parts: int) -> list[tuple[Rows, Rows]]:
    """The rest and the part, for each part: stratified, groups whole, always the same."""
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # about small classes, which the caller checks
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(labels, labels, groups))


def _count_smallest_class(labels: Rows, groups: Rows) -> int:
    """How many groups have the rarest class."""
    table = pd.DataFrame({"label": labels, "group": groups})
    return int(table.groupby("label")["group"].nunique().min())


def find_wrong_choices(seeds: tuple[int, ...], fractions: tuple[float, ...]) -> list[str]:
    """What is wrong with the options that say which trainings make a run, all of it."""
    found = []
    for option, values in (("seeds", seeds), ("fractions", fractions)):
        if not values or len(set(values)) < len(values):
            found.append(f"{option} '{_join(values)}' should name at least one, and each once")
    if not all(0 <= seed < _SEEDS for seed in seeds):
        found.append(f"seeds {_join(seeds)}: each should be in [0, 2^32)")
    if not all(0 < fraction <= 1 for fraction in fractions):
        found.append(f"fractions {_join(fractions)}: each should be in (0, 1]")
    return found


def name_hints(problems: list[str], others: str) -> str:
    """The options that solve some problems: those that ``find_wrong_choices`` names, and others."""
    named = [name for name in ("seeds", "fractions") if any(p.startswith(name) for p in problems)]
    return " ".join([*named, *filter(None, [others])])


def _join(values: tuple[Any, ...]) -> str:
    return ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _check_folds(labels: Rows, classes: tuple[str, ...], divisions: list[tuple[Rows, ...]]) -> None:
    """Raise ConfigError where groups are so uneven that a part of a fold lacks a class."""
    found = []
    for fold, division in enumerate(divisions):
        for split, rows in zip(SPLITS, division, strict=True):
            absent = sorted(set(range(len(classes))) - set(labels[rows].tolist()))
            if absent:
                names = quote_names(tuple(classes[label] for label in absent))
                found.append(f"class {names} is missing from {split} of fold {fold}")
    if found:
        raise ConfigError(
            f"{'; '.join(found)}: every part of a fold needs every class, and patients stay whole: "
            "give fewer folds, or add patients of the class"
        )
