"""Per-channel mean and variance of many images, merged shard by shard without cancellation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.format.layout import STATISTICS
from samcache.cache.store import Store

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


def read_moments(store: Store, rows: npt.NDArray[np.int64] | None = None) -> dict[str, Moments]:
    """Each level's moments per channel over the unpooled maps of some rows, (m,).

    Rows are those of the table's column row and must be readable; None means every readable one of
    the training split. Raises StoreError where statistics are damaged.
    """
    if rows is None:
        table = store.samples
        rows = table["row"][(table["status"] == "ok") & (table["split"] == "train")].to_numpy()
    chosen = np.zeros(store.layout.rows, np.bool_)
    chosen[rows] = True
    places = store.layout.channels
    total = {level: Moments.zero(place.stop - place.start) for level, place in places.items()}
    for shard in sorted(store.commits):
        start, stop = store.layout.find_rows(shard)
        found = store.read(STATISTICS, start, stop)[chosen[start:stop]]
        for level, place in places.items():
            part = Moments.of_images(found[:, 0, place], found[:, 1, place])
            total[level] = total[level].merge(part)
    return total
