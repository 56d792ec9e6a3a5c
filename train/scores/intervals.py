"""Intervals from what test samples and seeds do to a metric, each counted once."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from samcache.cache.files.typed_json import Count
from samcache.train.scores.metrics import Floats, Score

LEVEL = 0.95
METHOD = "DeLong or bootstrap, Welch, Student"  # results.json says how its intervals were made
_FEWEST = 2  # bootstrap draws that make a variance
# The ends of what a metric can be, by its name or by what stands before the colon.
_BOUNDS = {
    "kappa": (-1.0, 1.0),
    "mae": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "bias": (-np.inf, np.inf),
    "r2": (-np.inf, 1.0),
    "spearman": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Interval:
    """Where a metric would lie in 95 % of test sets and trainings.

    resamples: how many bootstrap draws it comes from, 0 if from DeLong's variance: draws without a
    class that the metric needs are left out.
    """

    low: Score
    high: Score
    resamples: Count


@dataclass(frozen=True)
class Draws:
    """How a metric of S trainings moves with the test samples.

    values: (D, S), a line a bootstrap draw, nan without a class that the metric needs; or a line a
    group of samples, whose influence it is; drawn: which of the two; free: what the variance is
    multiplied by, since the groups estimate their own mean; degrees: of freedom of the variance.
    """

    values: Floats
    drawn: bool
    free: float
    degrees: int

    @property
    def resamples(self) -> int:
        """The bootstrap draws that count; 0 of influences."""
        return len(self._find_defined()) if self.drawn else 0

    def subtract(self, other: "Draws") -> "Draws":
        """Of the difference of two metrics of the same test samples, training by training."""
        return replace(self, values=self.values - other.values)

    def measure(self) -> tuple[float, float]:
        """The variance of the mean over trainings, and what the trainings' spread holds of it.

        That part is the noise that an image and a seed have together: it makes seeds differ, and
        the mean over seeds move with the images.
        """
        values = self._find_defined()
        scale = self.free / (len(values) - 1) if self.drawn else self.free
        mean = values.mean(axis=1)
        variance = scale * float(((mean - mean.mean()) ** 2).sum())
        count = values.shape[1]
        if count == 1:
            return variance, 0.0
        rest = values - mean[:, None]
        squares = float(((rest - rest.mean(axis=0)) ** 2).sum())
        return variance, scale * squares / count / (count - 1)

    def _find_defined(self) -> Floats:
        return self.values[np.isfinite(self.values).all(axis=1)]


@dataclass(frozen=True)
class Estimate:
    """A mean, its variance, and the degrees of freedom of that variance (Satterthwaite 1946)."""

    mean: float
    variance: float
    degrees: float
    resamples: int

    def make_interval(self, low: float, high: float) -> Interval:
        """The interval by Student's t, within the ends of what the metric can be."""
        half = stats.t.ppf((1 + LEVEL) / 2, self.degrees) * np.sqrt(self.variance)
        ends = np.clip([self.mean - half, self.mean + half], low, high)
        return Interval(float(ends[0]), float(ends[1]), self.resamples)

    def test_zero(self) -> float:
        """The two-sided p of a mean of zero."""
        if self.variance == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / np.sqrt(self.variance), self.degrees))


@dataclass(frozen=True)
class Summary:
    """One metric over the seeds: mean, sample standard deviation (None for one seed), interval."""

    mean: Score
    sd: Score | None
    interval: Interval | None  # of the mean, over test samples and seeds

    @classmethod
    def of(cls, metric: str, values: Floats, draws: Draws | None) -> "Summary":
        """From each seed's value (S,), and how they move with the test samples."""
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        found = estimate(values.mean(), (values,), draws)
        interval = found.make_interval(*_find_bounds(metric)) if found else None
        return cls(float(values.mean()), spread, interval)


def estimate(mean: float, seeds: tuple[Floats, ...], draws: Draws | None) -> Estimate | None:
    """A mean over seeds, or a difference of two; None where nothing says how samples move it.

    seeds: each run's own values (S,), whose variances are added as Welch (1947) does. Image and
    seed noise together is in both parts, and is taken off once.
    """
    if draws is None or (draws.drawn and draws.resamples < _FEWEST):
        return None
    sampling, shared = draws.measure()
    count = len(seeds[0])
    spreads = [float(values.var(ddof=1)) / count if count > 1 else 0.0 for values in seeds]
    training = sum(spreads)
    total = max(sampling + training - shared, sampling, training)
    weight = sampling**2 / max(draws.degrees, 1)
    weight += sum(spread**2 for spread in spreads) / max(count - 1, 1)
    degrees = total**2 / weight if weight > 0 else 1.0
    return Estimate(float(mean), total, degrees, draws.resamples)


def _find_bounds(metric: str) -> tuple[float, float]:
    return _BOUNDS.get(metric.partition(":")[0], (0.0, 1.0))
