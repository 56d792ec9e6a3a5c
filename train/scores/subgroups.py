"""Metrics of subgroups of the test samples."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.files.typed_json import Count, Text
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.format import choose_headlines
from samcache.train.scores.intervals import Summary

FEWEST = 10  # samples on either side, below which a subgroup has no metrics

CountSides = Callable[[Any], tuple[int, int]]


@dataclass(frozen=True)
class Subgroup:
    """The test samples that agree in a column.

    positives, negatives: of the rarest class or finding, and the others; of numbers, all samples.
    metrics: None where there are too few of either.
    """

    column: Text
    value: Text
    samples: Count
    positives: Count
    negatives: Count
    metrics: dict[Text, Summary] | None


def score_subgroups(
    predictions: LabelledPredictions,
    columns: Mapping[str, npt.NDArray[np.object_]],
    count_sides: CountSides,
) -> list[Subgroup]:
    """Score every value of every column, in order; columns: name -> the value of n samples.

    The metrics are the two headlines of the kind; an empty value is a subgroup of its own.
    """
    found = []
    for name, values in columns.items():
        for value in sorted(set(values)):
            here = np.flatnonzero(values == value)
            found.append(_score_subgroup(predictions, name, str(value), here, count_sides))
    return found


def _score_subgroup(
    predictions: LabelledPredictions,
    column: str,
    value: str,
    rows: npt.NDArray[np.int64],
    count_sides: CountSides,
) -> Subgroup:
    labels = predictions.labels[rows]
    positives, negatives = count_sides(labels)
    metrics = None
    if min(positives, negatives) >= FEWEST:
        own = replace(
            predictions,
            labels=labels,
            groups=predictions.groups[rows],
            probabilities=predictions.probabilities[:, rows],
        )
        summaries, headlines = own.summarise(), choose_headlines(own.score_trainings())
        metrics = {name: summaries[name] for name in headlines if name in summaries}
    return Subgroup(column, value, len(rows), positives, negatives, metrics)


@dataclass(frozen=True)
class Gap:
    """Two subgroups of one column, and the metric of each, the lower first."""

    metric: str
    low: Subgroup
    high: Subgroup

    @property
    def size(self) -> float:
        """The difference of the two."""
        return self._read(self.high).mean - self._read(self.low).mean

    @property
    def is_clear(self) -> bool:
        """Whether the two intervals do not overlap."""
        low, high = self._read(self.low).interval, self._read(self.high).interval
        return low is not None and high is not None and low.high < high.low

    def _read(self, group: Subgroup) -> Summary:
        assert group.metrics is not None
        return group.metrics[self.metric]

    def describe(self, name: str) -> str:
        """Such as "AUC 0.610 for sex f and 0.840 for sex m"; name: the metric's, for people."""
        low, high = (
            f"{self._read(group).mean:.3f} for {group.column} {group.value or '(empty)'}"
            for group in (self.low, self.high)
        )
        overlap = "do not overlap" if self.is_clear else "overlap"
        return f"{name} {low} and {high}, a gap of {self.size:.3f}; the intervals {overlap}"


def find_largest_gap(groups: Iterable[Subgroup], metric: str) -> Gap | None:
    """The two subgroups of one column that differ most in a metric; None where none can."""
    columns: dict[str, list[Subgroup]] = {}
    for group in groups:
        if group.metrics is not None and metric in group.metrics:
            columns.setdefault(group.column, []).append(group)
    gaps = []
    for found in columns.values():
        ranked = sorted(found, key=lambda group: (group.metrics or {})[metric].mean)
        if len(ranked) > 1:
            gaps.append(Gap(metric, ranked[0], ranked[-1]))
    return max(gaps, key=lambda gap: gap.size, default=None)
