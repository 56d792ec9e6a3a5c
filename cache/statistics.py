"""Per-channel mean and deviation, gathered shard by shard and merged without cancellation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each of C channels.

    ``count`` is the number of map cells seen; ``mean`` and ``m2`` are (C,) float64.
    """

    count: int
    mean: Float64
    m2: Float64

    @classmethod
    def zero(cls, channels: int) -> "Moments":
        """The moments of nothing, neutral in ``merge``."""
        return cls(0, np.zeros(channels), np.zeros(channels))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both samples together (Chan, Golub and LeVeque 1979, equation 2.1)."""
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + delta**2 * (self.count * other.count / count)
        return Moments(count, mean, m2)

    def std(self) -> Float64:
        """Population standard deviation per channel, (C,) float64."""
        result: Float64 = np.sqrt(self.m2 / max(self.count, 1))
        return result

    def to_rows(self) -> Float64:
        """As a (3, C) float64 array: count, mean, m2."""
        return np.stack([np.full_like(self.mean, self.count), self.mean, self.m2])

    @classmethod
    def from_rows(cls, rows: Float64) -> "Moments":
        """The inverse of ``to_rows``."""
        return cls(int(rows[0, 0]), rows[1], rows[2])
