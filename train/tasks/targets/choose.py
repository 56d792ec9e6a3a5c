"""From columns of text to a kind of answer and its labels; refused where several kinds fit."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.typed_json import convert
from samcache.cache.labels.classes import (
    are_measurements,
    index_classes,
    parse_number,
    quote_names,
)
from samcache.train.tasks.options import KindName, TaskOptions
from samcache.train.tasks.targets.base import Target
from samcache.train.tasks.targets.classes import Classes
from samcache.train.tasks.targets.findings import (
    BAR,
    UNKNOWN,
    Findings,
    has_signs,
    split_cell,
)
from samcache.train.tasks.targets.grades import Grades
from samcache.train.tasks.targets.number import Number

_MOST_CLASSES = 50
_FEW = 10  # samples of a class
_KINDS: dict[str, type[Target]] = {kind.kind: kind for kind in (Classes, Findings, Grades, Number)}
GRADED = tuple(name for name, kind in _KINDS.items() if kind.graded)  # each sample is of one name


def find_unknown(values: pd.DataFrame) -> "pd.Series[bool]":
    """Which lines (n,) of a target's columns say nothing: all of them are UNKNOWN."""
    known = values.apply(lambda column: ~column.str.lower().isin(UNKNOWN))
    unknown: pd.Series[bool] = ~known.any(axis=1)
    return unknown


def choose_target(values: pd.DataFrame, options: TaskOptions) -> Target:
    """The target of n lines that all say something; ``Target.encode`` gives their labels.

    values: (n, columns) text. Raises ConfigError where the kind is not certain, or names cannot be
    read from the values.
    """
    kind = options.kind or ("ordinal" if options.order else infer_kind(values))
    if kind != "multilabel" and values.shape[1] > 1:
        raise ConfigError(
            f"the kind {kind} has one column, and {values.shape[1]} are given: name one, or choose "
            "multilabel",
            hint="target kind",
        )
    column = values.iloc[:, 0]
    make: dict[str, Callable[[], Target]] = {
        "class": lambda: _name_classes(column),
        "multilabel": lambda: _name_findings(values),
        "ordinal": lambda: _name_grades(column, options.order, options.loss == "corn"),
        "number": lambda: _name_number(column, options.unit),
    }
    return make[kind]()


def infer_kind(values: pd.DataFrame) -> KindName:
    """The only kind that values (n, columns) fit; raises ConfigError where several may."""
    if values.shape[1] > 1:
        return "multilabel"
    column = values.iloc[:, 0]
    name, unique = column.name, tuple(sorted(column.unique()))
    if any(BAR in value for value in unique):
        raise ConfigError(
            f"cells of {name} hold {BAR!r}, as {next(v for v in unique if BAR in v)!r}: choose "
            "multilabel for several findings in a cell, or class",
            hint="kind",
        )
    if are_measurements(unique, len(column)):
        raise ConfigError(
            f"{name} holds {len(unique)} different numbers ({quote_names(unique)}): choose number, "
            "ordinal or class",
            hint="kind",
        )
    if len(unique) > _MOST_CLASSES and column.value_counts().median() < _FEW:
        raise ConfigError(
            f"{name} holds {len(unique)} different values ({quote_names(unique)}), most of them in "
            f"fewer than {_FEW} images: name another column, or choose class, number or ordinal",
            hint="kind target",
        )
    return "class"


def read_target(value: object) -> Target:
    """The target that a run's config.json holds; raises ValueError."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in _KINDS:
        raise ValueError(f"target: expected a kind of {', '.join(_KINDS)}")
    fields: dict[str, Any] = {name: part for name, part in value.items() if name != "kind"}
    target: Target = convert(fields, _KINDS[str(kind)])
    if target.to_json().keys() != value.keys():
        raise ValueError("target: expected the fields of its kind, and no more")
    if not target.names or len(set(target.names)) < len(target.names):
        raise ValueError("target: expected each name once")
    return target


def _name_classes(column: "pd.Series[str]") -> Target:
    return Classes(index_classes(column)[0])


def _name_grades(column: "pd.Series[str]", order: tuple[str, ...], corn: bool) -> Target:
    unique = set(column)
    if not order:
        numbers = {name: parse_number(name) for name in unique}
        odd = sorted(name for name, number in numbers.items() if number is None)
        if odd:
            raise ConfigError(
                f"{column.name} holds {odd[0]!r}, and grades that are no numbers need their order",
                hint="order",
            )
        order = tuple(sorted(unique, key=lambda name: numbers[name] or 0.0))
    if odd := sorted(unique - set(order)):
        raise ConfigError(
            f"{column.name} holds {odd[0]!r}, which the order {', '.join(order)} does not: add it, "
            "or leave these rows out",
            hint="order",
        )
    return Grades(tuple(name for name in dict.fromkeys(order) if name in unique), corn)


def _name_findings(values: pd.DataFrame) -> Target:
    if values.shape[1] > 1 or has_signs(values):
        return Findings(tuple(map(str, values)))
    column = values.iloc[:, 0]
    names = sorted(set().union(*column.map(split_cell)))
    if not names:
        raise ConfigError(f"{column.name} names no finding: name another column", hint="target")
    return Findings(tuple(names))


def _name_number(column: "pd.Series[str]", unit: str) -> Target:
    if column.nunique() == 1:
        raise ConfigError(f"{column.name} is {column.iloc[0]} in every row: nothing can be learned")
    return Number((str(column.name),), unit)
