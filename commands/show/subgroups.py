"""Show the subgroups of test samples: a short table for each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samcache.commands.show.tables import make_table
from samcache.train.scores.format import (
    choose_leading,
    format_interval,
    name_metric,
    name_selection,
)
from samcache.train.scores.subgroups import find_largest_gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from samcache.commands.show.tables import Part
    from samcache.train.scores.subgroups import Subgroup


def describe_subgroups(groups: Sequence[Subgroup], metrics: Iterable[str]) -> list[Part]:
    """A table for each column, and the largest gap; nothing without subgroups.

    metrics: those that the run has, of which the two headlines are shown.
    """
    if not groups:
        return []
    leading, other = choose_leading(metrics)
    parts: list[Part] = []
    for column in dict.fromkeys(group.column for group in groups):
        own = [group for group in groups if group.column == column]
        sided = any(group.positives < group.samples for group in own)  # of numbers, all are
        heads = [column, "n", *["positives"] * sided, name_metric(leading), name_metric(other)]
        rows = [
            [
                group.value or "(empty)",
                group.samples,
                *[group.positives] * sided,
                *(_write_metric(group, name) for name in (leading, other)),
            ]
            for group in own
        ]
        parts += ["", make_table(rows, heads)]
    gap = find_largest_gap(groups, leading)
    if gap is not None:
        parts += ["", f"largest gap: {gap.describe(name_selection(leading))}"]
    return parts


def _write_metric(group: Subgroup, name: str) -> str:
    if group.metrics is None:
        return "too few"
    summary = group.metrics.get(name)
    return "-" if summary is None else f"{summary.mean:.3f} ({format_interval(summary.interval)})"
