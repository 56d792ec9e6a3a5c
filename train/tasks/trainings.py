"""Plan the trainings of a run, or report every reason why a store cannot be trained on."""

from dataclasses import dataclass

import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.labels.duplicates import find_leaks
from samcache.cache.labels.trainable import check_trainability
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.train.tasks.splits import (
    Member,
    find_wrong_choices,
    list_trained_classes,
    name_hints,
    plan_members,
    select_readable,
)


@dataclass(frozen=True)
class Trainings:
    """Every training of a run, and the samples and classes that all of them share.

    samples: the n readable samples, which the members' rows count. remarks: what a user should
    know of them, a line each.
    """

    samples: pd.DataFrame
    members: list[Member]
    classes: tuple[str, ...]
    remarks: tuple[str, ...]


def plan_trainings(
    store: Store,
    seeds: tuple[int, ...],
    folds: int | None = None,
    fractions: tuple[float, ...] = (1.0,),
) -> Trainings:
    """Plan a run's trainings as ``plan_members``.

    Raises ConfigError with everything that is wrong, and with the first cause first: images that
    are not extracted yet.
    """
    stored = store.samples, store.dataset.classes, store.dataset.split_origin, folds
    found = check_trainability(*stored, count_missing=False)
    missing, problems = _describe_missing(store), find_wrong_choices(seeds, fractions)
    if found.problems and missing:
        problems.append(f"{missing}: run the same samcache extract command again to finish")
        found = check_trainability(*stored, count_missing=True)
    if found.problems:
        problems.append(f"{store.location} {found.explain_refusal()}")
    if problems:
        raise ConfigError("; ".join(problems), name_hints(problems, found.hint))
    samples, classes = select_readable(store), list_trained_classes(store)
    members = plan_members(samples, classes, seeds, folds, fractions)
    remarks = [f"{missing}: left out"] if missing else []
    remarks += found.remarks
    if not folds:  # which keep patients and copies of an image whole
        remarks += find_leaks(samples, classes)
    return Trainings(samples, members, classes, tuple(remarks))


def _describe_missing(store: Store) -> str:
    """How many images are not extracted yet; "" where all are."""
    missing = int((store.samples["status"] == "missing").sum())
    of = f"{missing} of {count_nouns(len(store.samples), 'image')} of {store.location}"
    return f"{of} {'is' if missing == 1 else 'are'} not extracted yet" if missing else ""
