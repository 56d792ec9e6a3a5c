"""Moments merged in any order are the moments of all values at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samcache.cache.format.statistics import Moments


def of(maps: np.ndarray) -> Moments:
    """From (n, C, cells) maps, by way of each image's own moments."""
    return Moments.of_images(maps.mean(axis=2), maps.var(axis=2))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.floats(-1e4, 1e4),
)
def test_merging_equals_seeing_all_images_at_once(
    sizes: list[int], seed: int, offset: float
) -> None:
    maps = np.random.default_rng(seed).standard_normal((sum(sizes), 3, 7)) + offset
    merged = Moments.zero(3)
    for part in np.split(maps, np.cumsum(sizes)[:-1]):
        merged = merged.merge(of(part))
    assert merged.count == len(maps)
    if len(maps):
        np.testing.assert_allclose(merged.mean, maps.mean(axis=(0, 2)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(merged.variance, maps.var(axis=(0, 2)), rtol=1e-6)


def test_a_large_mean_costs_no_digits_of_the_variance() -> None:
    maps = np.random.default_rng(1).standard_normal((8, 1, 50)) * 1e-2 + 1e6
    halves = of(maps[:4]).merge(of(maps[4:]))
    np.testing.assert_allclose(halves.variance, maps.var(axis=(0, 2)), rtol=1e-6)
