"""Intervals by resampling seeds and test samples, whole patients where they are known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from samcache.cache.files.typed_json import Count
from samcache.train.scores.ensemble_mean import average_members
from samcache.train.scores.metrics import Floats, Ints, Score

RESAMPLES = 2000
_BLOCK = 4_000_000  # weights held at a time


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of a metric over resamples.

    resamples: how many of RESAMPLES count: those without a class that the metric needs are
    left out.
    """

    low: Score
    high: Score
    resamples: Count

    @classmethod
    def of(cls, values: Floats) -> "Interval | None":
        """Percentiles of (R,) values that may be nan; None where all are."""
        defined = values[np.isfinite(values)]
        if len(defined) == 0:
            return None
        low, high = np.percentile(defined, (2.5, 97.5))
        return cls(float(low), float(high), len(defined))


@dataclass(frozen=True)
class Summary:
    """One metric over the seeds: mean, sample standard deviation (None for one seed), interval."""

    mean: Score
    sd: Score | None
    interval: Interval | None  # of the mean, resampling test samples and seeds

    @classmethod
    def of(cls, values: Floats, resampled: Floats) -> "Summary":
        """From each seed's value (S,) and each resample's (R, S)."""
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        return cls(float(values.mean()), spread, Interval.of(average_over_seeds(resampled)))


@dataclass(frozen=True)
class LabelledPredictions:
    """What the same n test samples were given by S trainings that differ in their seed.

    labels: (n,) or (n, K); groups: (n,), equal within a patient; probabilities: (S, n, K), a
    target's outputs; score: the target's metrics, as ``Target.score``.
    """

    labels: Any
    groups: Ints
    probabilities: Floats
    score: Callable[[Any, Floats, Floats], dict[str, Floats]]

    def compute_scores(self, weights: Floats) -> dict[str, Floats]:
        """Every metric of every training under R weightings (R, n), (R, S) each."""
        each = [self.score(self.labels, values, weights) for values in self.probabilities]
        return {name: np.stack([scores[name] for scores in each], axis=1) for name in each[0]}

    def score_trainings(self) -> dict[str, Floats]:
        """Every metric of every training, (S,) each."""
        ones = np.ones((1, len(self.labels)))
        return {name: values[0] for name, values in self.compute_scores(ones).items()}

    def score_resamples(self) -> dict[str, Floats]:
        """Every metric of every training in every resample, (RESAMPLES, S) each.

        The resamples depend on ``groups`` alone: trainings on the same test samples are paired. Of
        a single group, which cannot be drawn otherwise, all are nan.
        """
        if len(np.unique(self.groups)) == 1:
            return {
                name: np.full((1, len(v)), np.nan) for name, v in self.score_trainings().items()
            }
        blocks = [self.compute_scores(weights) for weights in draw_resamples(self.groups)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def summarise(self) -> dict[str, Summary]:
        """Every metric that all trainings have, over the trainings, each scored by itself."""
        plain, resampled = self.score_trainings(), self.score_resamples()
        defined = [name for name, values in plain.items() if np.isfinite(values).all()]
        return {name: Summary.of(plain[name], resampled[name]) for name in defined}

    def average(self) -> "LabelledPredictions":
        """The ensemble of the trainings, as one training."""
        return replace(self, probabilities=average_members(self.probabilities)[np.newaxis])


def average_over_seeds(resampled: Floats) -> Floats:
    """The mean (R,) of as many seeds as there are, drawn again in every resample (R, S)."""
    count = resampled.shape[1]
    drawn = np.random.default_rng(1).integers(0, count, resampled.shape)
    mean: Floats = np.take_along_axis(resampled, drawn, axis=1).mean(axis=1)
    return mean


def draw_resamples(groups: Ints) -> Iterator[Floats]:
    """Weights of n samples, (r, n) a block and RESAMPLES in all; always the same draws.

    As many groups as there are, drawn with replacement (Field and Welsh 2007, cluster bootstrap);
    not stratified, so that the classes' shares vary as they would in another test set.
    """
    rng = np.random.default_rng(0)
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    rows = max(1, _BLOCK // len(codes))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, codes].astype(np.float64)
