"""Per-channel mean and variance of many images, merged shard by shard without cancellation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and population variance of each of C channels over ``count`` images of one size.

    ``mean`` and ``variance`` are (C,) float64.
    """

    count: int
    mean: Float64
    variance: Float64

    @classmethod
    def zero(cls, channels: int) -> "Moments":
        """The moments of nothing, neutral in ``merge``."""
        return cls(0, np.zeros(channels), np.zeros(channels))

    @classmethod
    def of_images(cls, means: npt.NDArray[Any], variances: npt.NDArray[Any]) -> "Moments":
        """From each image's own (n, C) means and variances: the law of total variance."""
        if len(means) == 0:
            return cls.zero(means.shape[1])
        mean = means.mean(axis=0, dtype=np.float64)
        within = variances.mean(axis=0, dtype=np.float64)
        return cls(len(means), mean, within + ((means - mean) ** 2).mean(axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both together (Chan, Golub and LeVeque 1979, equation 2.1)."""
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        count = self.count + other.count
        share = other.count / count
        delta = other.mean - self.mean
        between = delta**2 * share * (1 - share)
        variance = self.variance + (other.variance - self.variance) * share + between
        return Moments(count, self.mean + delta * share, variance)
