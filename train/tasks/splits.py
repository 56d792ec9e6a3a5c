"""Which samples a training sees: the members of a run, over seeds, folds and fractions."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import quote_names
from samcache.cache.labels.units import number_groups, number_units
from samcache.cache.text import count_nouns
from samcache.train.tasks.question import BY, Question

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


def plan_members(
    question: Question,
    seeds: tuple[int, ...],
    folds: int | None = None,
    fractions: tuple[float, ...] = (1.0,),
    folds_by: str | None = None,
) -> list[Member]:
    """Every training of a run on readable samples, by fraction, then fold, then seed.

    Folds are the same for every seed, with groups and copies of an image whole; a seed draws its
    fractions of the training rows, each inside the larger ones. folds_by: the column of subgroups
    each of whose values is held out once, in place of ``folds``. Raises ConfigError, with
    everything that is wrong, where seeds or fractions make no sense and where samples cannot be
    trained on.
    """
    samples, target = question.samples, question.target
    problems = find_wrong_choices(seeds, fractions)
    if target.graded and (absent := target.find_absent(question.labels)):
        problems.append(f"no readable sample is of class {quote_names(absent)}")
    found = replace(question, origin="source").check(folds, count_missing=True)
    if found.problems and folds_by is None:
        problems.append(f"the samples {found.explain_refusal()}")
    if problems:
        raise ConfigError("; ".join(problems), name_hints(problems, found.hint))
    labels, groups = samples["label"].to_numpy(), number_groups(samples)
    if folds_by is not None:
        held_out = list_held_out(samples, folds_by)
        divisions = _hold_out_each(labels, number_units(samples), held_out, target.graded)
    elif folds:
        divisions = _divide_into_folds(labels, number_units(samples), folds, target.graded)
    else:
        divisions = _find_own_splits(samples)
    in_folds = folds is not None or folds_by is not None
    if in_folds:
        _check_folds(question, divisions)
    members = []
    for fraction in fractions:
        for fold, (train, val, test) in enumerate(divisions):
            for seed in seeds:
                kept = train[draw_subset(labels[train], groups[train], fraction, seed)]
                rows = (torch.from_numpy(part) for part in (kept, val, test))
                members.append(Member(seed, fold if in_folds else None, fraction, *rows))
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


def _divide_into_folds(
    labels: Rows, groups: Rows, folds: int, graded: bool
) -> list[tuple[Rows, ...]]:
    """Train, val and test rows of each fold, over the samples of all splits."""
    divisions: list[tuple[Rows, ...]] = []
    for rest, test in _divide(labels, groups, folds):
        train, val = _choose_val(labels[rest], groups[rest], len(set(labels.tolist())), graded)
        divisions.append((rest[train], rest[val], test))
    return divisions


def _choose_val(labels: Rows, groups: Rows, classes: int, graded: bool) -> tuple[Rows, Rows]:
    """Places of training and validation among the rows that are not held out."""
    count = min(_VAL_PARTS, _count_smallest_class(labels, groups)) if graded else _VAL_PARTS
    parts = _divide(labels, groups, max(2, count))
    whole = [part for part in parts if all(len(set(labels[p])) == classes for p in part)]
    return (whole or parts)[0]  # groups are few: not every part has every class


def list_held_out(samples: pd.DataFrame, column: str) -> "pd.Series[str]":
    """The value of each sample that says in which fold it is tested; raises ConfigError."""
    values = samples[f"{BY}{column}"]
    if (empty := int((values == "").sum())) or values.nunique() < 2:
        lack = f"is empty for {count_nouns(empty, 'image')}" if empty else "has one value alone"
        raise ConfigError(
            f"{column} {lack}, and each of its values is to be held out once: fill it in, or "
            "choose another column",
            hint="folds_by",
        )
    return values


def _hold_out_each(
    labels: Rows, groups: Rows, values: "pd.Series[str]", graded: bool
) -> list[tuple[Rows, ...]]:
    """Train, val and test rows for each value, in order: its samples are the test rows."""
    divisions: list[tuple[Rows, ...]] = []
    for value in sorted(values.unique()):
        here = (values == value).to_numpy()
        shared = np.isin(groups, groups[here]) & ~here  # of a patient who is in both
        rest = np.flatnonzero(~here & ~shared)
        train, val = _choose_val(labels[rest], groups[rest], len(set(labels.tolist())), graded)
        divisions.append((rest[train], rest[val], np.flatnonzero(here)))
    return divisions


def _divide(labels: Rows, groups: Rows, parts: int) -> list[tuple[Rows, Rows]]:
    """The rest and the part, for each part: stratified, groups whole, always the same."""
    if np.bincount(labels).max() < parts:  # strata of numbers are small where samples are few
        labels = np.zeros_like(labels)
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


def _check_folds(question: Question, divisions: list[tuple[Rows, ...]]) -> None:
    """Raise ConfigError where a part of a fold lacks what every part needs.

    Findings and numbers need it for training alone: elsewhere a metric is not defined.
    """
    target, found = question.target, []
    for fold, division in enumerate(divisions):
        for split, rows in zip(SPLITS, division, strict=True):
            if not (target.graded or split == "train"):
                continue
            if absent := target.find_absent(question.labels[rows]):
                found.append(f"class {quote_names(absent)} is missing from {split} of fold {fold}")
    if found:
        raise ConfigError(
            f"{'; '.join(found)}: every part of a fold needs every class, and patients stay whole: "
            "give fewer folds, or add patients of the class"
        )
