"""Plan the trainings of a run, or report every reason why a store cannot be trained on."""

from dataclasses import dataclass

from samcache.cache.errors import ConfigError
from samcache.cache.labels.duplicates import find_leaks
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.train.tasks.options import STORE_LABELS, TaskOptions
from samcache.train.tasks.question import Question, ask
from samcache.train.tasks.splits import Member, find_wrong_choices, name_hints, plan_members


@dataclass(frozen=True)
class Trainings:
    """Every training of a run, and the question that all of them answer.

    question: of the n readable samples, which the members' rows count. remarks: what a user should
    know of them, a line each.
    """

    question: Question
    members: list[Member]
    remarks: tuple[str, ...]


def plan_trainings(
    store: Store,
    seeds: tuple[int, ...],
    folds: int | None = None,
    fractions: tuple[float, ...] = (1.0,),
    task: TaskOptions = STORE_LABELS,
) -> Trainings:
    """Plan a run's trainings as ``plan_members``.

    Raises ConfigError with everything that is wrong, and with the first cause first: images that
    are not extracted yet.
    """
    question = ask(store, task)
    found = question.check(folds, count_missing=False)
    missing, problems = _describe_missing(store), find_wrong_choices(seeds, fractions)
    if found.problems and missing:
        problems.append(f"{missing}: run the same samcache extract command again to finish")
        found = question.check(folds, count_missing=True)
    if found.problems and task.folds_by is None:
        problems.append(f"{store.location} {found.explain_refusal()}")
    if problems:
        raise ConfigError("; ".join(problems), name_hints(problems, found.hint))
    readable = question.select_readable()
    members = plan_members(readable, seeds, folds, fractions, task.folds_by)
    remarks = [f"{missing}: left out"] if missing else []
    remarks += found.remarks
    if not folds and task.folds_by is None:  # folds keep patients and copies of an image whole
        remarks += find_leaks(readable.samples, readable.classes)
    return Trainings(readable, members, tuple(remarks))


def _describe_missing(store: Store) -> str:
    """How many images are not extracted yet; "" where all are."""
    missing = int((store.samples["status"] == "missing").sum())
    of = f"{missing} of {count_nouns(len(store.samples), 'image')} of {store.location}"
    return f"{of} {'is' if missing == 1 else 'are'} not extracted yet" if missing else ""
