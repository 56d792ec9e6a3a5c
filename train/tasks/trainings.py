"""What a store can be trained on: all trainings of a run, or everything that stands against it."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console

from samcache.cache.errors import ConfigError
from samcache.cache.labels.duplicates import leaks
from samcache.cache.labels.trainable import trainability
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.train.tasks.splits import (
    Member,
    plan_members,
    readable_samples,
    trained_classes,
    wrong_choices,
)


@dataclass(frozen=True)
class Trainings:
    """Every training of a run, its classes, and what a user should know of them, a line each."""

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
    found = trainability(*stored, count_missing=False)
    missing, problems = _missing(store), wrong_choices(seeds, fractions)
    if found.problems and missing:
        problems.append(f"{missing}: run the same samcache extract command again to finish")
        found = trainability(*stored, count_missing=True)
    if found.problems:
        problems.append(f"{store.location} {found.refusal()}")
    if problems:
        raise ConfigError("; ".join(problems), found.hint)
    samples, classes = readable_samples(store), trained_classes(store)
    members = plan_members(samples, classes, seeds, folds, fractions)
    remarks = [f"{missing}: left out"] if missing else []
    remarks += found.remarks
    if not folds:  # which keep patients and copies of an image whole
        remarks += leaks(samples, classes)
    return Trainings(members, classes, tuple(remarks))


def warn(console: Console, remarks: Iterable[str]) -> None:
    """Print what a user should know before a training, a line each, as it is."""
    for line in remarks:
        console.print(f"warning: {line}", markup=False, highlight=False, soft_wrap=True)


def _missing(store: Store) -> str:
    """How many images are not extracted yet; "" where all are."""
    missing = int((store.samples["status"] == "missing").sum())
    of = f"{missing} of {count_nouns(len(store.samples), 'image')} of {store.location}"
    return f"{of} {'is' if missing == 1 else 'are'} not extracted yet" if missing else ""
