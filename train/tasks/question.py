"""A question to a store's samples: which of them have an answer, and what it is."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.format.samples import KEPT, list_kept
from samcache.cache.labels.classes import list_used_classes
from samcache.cache.labels.split_names import find_split
from samcache.cache.labels.trainable import Trainability, check_trainability
from samcache.cache.store import Store
from samcache.cache.text import count_nouns, list_first
from samcache.train.tasks.join import Join, join_samples
from samcache.train.tasks.label_table import LabelTable, open_label_table
from samcache.train.tasks.options import TaskOptions
from samcache.train.tasks.parts import check_parts
from samcache.train.tasks.targets.base import Labels, Target
from samcache.train.tasks.targets.choose import (
    choose_target,
    find_unknown,
    infer_kind,
)
from samcache.train.tasks.targets.classes import Classes
from samcache.train.tasks.targets.findings import UNKNOWN

_OWN = "class"  # the store's own labels among the columns that it keeps
BY = "by_"  # before the name of a column of subgroups


@dataclass(frozen=True)
class Question:
    """The n samples that have an answer, in the store's order, and what is asked of them.

    samples: columns of ``Store.samples``, and BY + name for each column of subgroups; its column
    label indexes ``classes``, or is a stratum where there are none. labels: (n,) or (n, K) as
    ``target`` has them. origin: of the splits, as a data set has it. notes: how the answers were
    found, a line each. record: the question as config.json keeps it, {} for the store's own.
    """

    samples: pd.DataFrame
    classes: tuple[str, ...]
    target: Target
    labels: Labels
    origin: str = "source"
    notes: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_classes(
        cls, samples: pd.DataFrame, classes: tuple[str, ...], ordered: bool = False
    ) -> "Question":
        """Which class each sample is of; those that no sample has are left out of the target.

        samples: their column label indexes ``classes``.
        """
        used = list_used_classes(samples, classes)
        numbers = np.array([used.index(n) if n in used else -1 for n in classes], np.int64)
        labels = numbers[samples["label"].to_numpy()]
        return cls(samples, classes, Classes(used, ordered), labels)

    def select_readable(self) -> "Question":
        """The same of the samples that can be trained on, numbered from 0.

        Their column label indexes the target's names, or is a stratum.
        """
        readable = (self.samples["status"] == "ok").to_numpy()
        labels = self.labels[readable]
        samples = self.samples[readable].reset_index(drop=True)
        if not self.classes:
            return replace(self, samples=samples, labels=labels)
        samples = samples.assign(label=labels)
        return replace(self, samples=samples, labels=labels, classes=self.target.names)

    def check(self, folds: int | None, count_missing: bool) -> Trainability:
        """Whether the samples can be trained on, by their splits or in folds."""
        if self.classes:
            return check_trainability(self.samples, self.classes, self.origin, folds, count_missing)
        return check_parts(self.samples, self.labels, self.target, folds, count_missing)


def ask(store: Store, options: TaskOptions, target: Target | None = None) -> Question:
    """The answer of each sample, from the store or from a table; raises SamcacheError.

    target: what is predicted, of a run; None takes what labels and options say.
    """
    of_columns = options.labels is not None or options.names_columns
    question = (_ask_table if of_columns else _ask_store)(store, options, target)
    _refuse_idle_options(options, question.target)
    if options.splits is not None:
        question = _take_splits(question, options)
    return question


def _refuse_idle_options(options: TaskOptions, target: Target) -> None:
    """Raise ConfigError for an option that says nothing for the kind of answer."""
    for name, given, kind in (
        ("unit", options.unit, "number"),
        ("ordered", options.ordered, "class"),
    ):
        if given and target.kind != kind:
            raise ConfigError(
                f"{name} is an option of the kind {kind}, and the kind is {target.kind}: leave it "
                "out, or choose the kind",
                hint=f"{name} kind",
            )


def _ask_store(store: Store, options: TaskOptions, given: Target | None) -> Question:
    """The question that the store was extracted with."""
    samples, classes = store.samples, store.dataset.classes
    if not classes:
        raise refuse_unlabelled(store)
    question = Question.of_classes(samples, classes, options.ordered)
    question = replace(question, origin=store.dataset.split_origin)
    names = np.array(classes, dtype=object)[samples["label"].to_numpy()]
    values = pd.DataFrame({"class": names})
    if given is None and options.kind in (None, "class") and not options.order:
        if any("|" in name for name in classes) and options.kind is None:
            infer_kind(values)
        return question
    return _answer(question, values, options, given)


def refuse_unlabelled(store: Store) -> ConfigError:
    """The error of a store without labels of its own."""
    table = "give a table of labels and the column with the answer"
    if not (kept := list_kept(store.samples)):
        return ConfigError(f"{store.location} holds no labels: {table}", hint="labels+target")
    names = list_first([name.removeprefix(KEPT) for name in kept])
    return ConfigError(
        f"{store.location} holds no labels: name a column that it keeps ({names}), or {table}",
        hint="target labels+target",
    )


def _answer(
    question: Question, values: pd.DataFrame, options: TaskOptions, given: Target | None
) -> Question:
    """The question with the answers that columns of text give its samples.

    given: the target, else it follows from the text.
    """
    target = given or choose_target(values, options)
    labels = target.encode(values)
    if isinstance(target, Classes) and given is None:
        target = replace(target, ordered=options.ordered)
    classes = target.names if target.graded else ()
    codes = labels if target.graded else target.find_strata(labels)
    samples = question.samples.assign(label=codes)
    record = {**options.to_json(), "kind": target.kind}
    return replace(
        question, samples=samples, classes=classes, target=target, labels=labels, record=record
    )


def _ask_table(store: Store, options: TaskOptions, given: Target | None) -> Question:
    """The question that columns ask, of a table or of those that the store keeps."""
    samples = store.samples
    targets, join = _join_kept(store, options) if options.labels is None else _join(store, options)
    table = join.table
    values = pd.DataFrame({name: join.take(name, "target") for name in targets}, columns=targets)
    samples = samples.reset_index(drop=True).assign(label=0)
    samples = samples.assign(**_take_subgroups(join, options))
    if options.group_column is not None:
        samples["group"] = join.take(options.group_column, "group_column")
    unknown = find_unknown(values).to_numpy()
    lines = [f"labels of {table.path}: {join.describe()}"] if options.labels else []
    lines += _describe_unknown(values, unknown, join)
    question = Question(
        samples, (), Classes(()), np.zeros(len(samples)), store.dataset.split_origin
    )
    if options.split_column is not None:
        column = join.take(options.split_column, "split_column")
        question = _use_splits(question, column, table, options.split_column)
        unknown = unknown | (question.samples["split"].to_numpy() == "")
    kept = ~unknown
    if not kept.any():
        raise ConfigError(
            f"{table.path}: {join.describe()}: none of them has a label and a split", hint="target"
        )
    question = replace(question, samples=question.samples[kept].reset_index(drop=True))
    question = _answer(question, values[kept].reset_index(drop=True), options, given)
    question, silent = _leave_unlabelled_out(question)
    if silent:
        lines.append(f"{count_nouns(silent, 'image')} with unknown findings alone: left out")
    record = question.record | {"sha256": table.sha256, "target": list(targets)}
    if options.labels is not None:
        record |= {"labels": table.path.name, "key": f"{table.by}={table.key}"}
    lines += question.notes
    return replace(question, notes=tuple(lines), record=record)


def _leave_unlabelled_out(question: Question) -> tuple[Question, int]:
    """The question without samples whose label says nothing, and how many they are."""
    silent = question.target.find_unlabelled(question.labels)
    if not silent.any():
        return question, 0
    samples = question.samples[~silent].reset_index(drop=True)
    return replace(question, samples=samples, labels=question.labels[~silent]), int(silent.sum())


def _join(store: Store, options: TaskOptions) -> tuple[tuple[str, ...], Join]:
    """The columns with the answer, and the table that has them."""
    assert options.labels is not None
    table = open_label_table(options.labels, options.key)
    targets = options.target or _list_labels(table)
    used = {*targets, *options.by, options.split_column, options.folds_by, options.group_column}
    named = tuple(name for name in table.names if name in used)
    return targets, join_samples(store.samples, table, named)


def _join_kept(store: Store, options: TaskOptions) -> tuple[tuple[str, ...], Join]:
    """The same of the columns that a store keeps; its own labels are their column ``class``."""
    samples, classes = store.samples, store.dataset.classes
    names = list_kept(samples)
    if not options.target and not classes:
        raise refuse_unlabelled(store)
    if not names:
        raise ConfigError(
            f"{store.location} keeps no columns of a manifest: give a table of labels",
            hint="labels",
        )
    kept = samples[names].rename(columns=lambda name: name.removeprefix(KEPT))
    if classes and _OWN not in kept:
        kept[_OWN] = np.array(classes, dtype=object)[samples["label"].to_numpy()]
    kept = kept.reset_index(drop=True).astype(object)
    text = "\0".join([*kept, *samples["id"], *kept.to_numpy().ravel()])
    path = Path(f"the columns that {PurePosixPath(store.location).name} keeps")
    table = LabelTable(path, kept, "id", "id", hashlib.sha256(text.encode()).hexdigest())
    return options.target or (_OWN,), Join(table, np.arange(len(kept)), "row", 0, 0)


def _list_labels(table: LabelTable) -> tuple[str, ...]:
    """The columns of an .npz's labels; raises ConfigError for another table."""
    columns = tuple(name for name in table.names if name.isdigit())
    if table.path.suffix.lower() != ".npz":
        raise ConfigError(
            f"{table.path} needs the name of the column with the answer: it has "
            f"{', '.join(table.names)}",
            hint="target",
        )
    return columns


def _take_subgroups(join: Join, options: TaskOptions) -> dict[str, pd.Series]:
    """The columns of subgroups, and that of the folds, under their names in ``samples``."""
    names = dict.fromkeys((*options.by, *filter(None, [options.folds_by])))
    return {f"{BY}{name}": join.take(name, "by") for name in names}


def _describe_unknown(values: pd.DataFrame, unknown: Any, join: Join) -> list[str]:
    """How many samples with a row have no label, and the words that say so."""
    here = values[unknown & (join.rows >= 0)]
    if here.empty:
        return []
    words = sorted({word for word in here.to_numpy().ravel() if word})
    said = f" ({list_first(words)})" if words else ""
    return [f"{count_nouns(len(here), 'image')} without a label{said}: left out"]


def _take_splits(question: Question, options: TaskOptions) -> Question:
    """The question with the splits of a table of their own."""
    assert options.splits is not None
    table = open_label_table(options.splits, None, "splits")
    name = next((n for n in table.names if n.strip().lower() == "split"), None)
    if name is None:
        raise ConfigError(
            f"{table.path} has no column 'split': it has {', '.join(table.names)}", hint="splits"
        )
    join = join_samples(question.samples, table, (name,))
    asked = _use_splits(question, join.take(name, "splits"), table, name)
    kept = (asked.samples["split"] != "").to_numpy()
    return replace(
        asked,
        samples=asked.samples[kept].reset_index(drop=True),
        labels=asked.labels[kept],
        notes=(*question.notes, f"splits of {table.path}: {join.describe()}"),
        record={**question.record, "splits": table.path.name, "splits_sha256": table.sha256},
    )


def _use_splits(
    question: Question, column: "pd.Series[str]", table: LabelTable, name: str
) -> Question:
    """The question with other splits, "" where a word means none; raises ConfigError."""
    words = {word: find_split(word) or "" for word in column.unique()}
    odd = sorted(word for word, split in words.items() if not split and word.lower() not in UNKNOWN)
    if odd:
        raise ConfigError(
            f"{table.path}: column {name!r} holds {odd[0]!r}, and splits are train, val and test: "
            "correct it, or name another column",
            hint="split_column",
        )
    samples = question.samples.assign(split=column.map(words).to_numpy(dtype=object))
    return replace(question, samples=samples, origin="source")
