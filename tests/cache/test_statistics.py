"""Moments merged in any order are the moments of all values at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from samcache.cache.statistics import Moments

VALUES = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 60), st.just(3)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)


def of(values: np.ndarray) -> Moments:
    mean = values.mean(axis=0)
    return Moments(len(values), mean, ((values - mean) ** 2).sum(axis=0))


@given(VALUES, st.lists(st.integers(0, 60), max_size=5))
def test_merged_parts_equal_the_whole(values: np.ndarray, cuts: list[int]) -> None:
    merged = Moments.zero(3)
    for part in np.split(values, sorted(min(cut, len(values)) for cut in cuts)):
        merged = merged.merge(of(part) if len(part) else Moments.zero(3))
    assert merged.count == len(values)
    np.testing.assert_allclose(merged.mean, values.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(merged.std(), values.std(axis=0), rtol=1e-7, atol=1e-7)


def test_a_large_offset_does_not_cancel_the_deviation() -> None:
    values = 1e8 + np.random.default_rng(0).standard_normal((1000, 1))
    merged = of(values[:300]).merge(of(values[300:]))
    np.testing.assert_allclose(merged.std(), values.std(axis=0), rtol=1e-6)


def test_rows_round_trip() -> None:
    moments = of(np.random.default_rng(0).standard_normal((10, 4)))
    again = Moments.from_rows(moments.to_rows())
    assert again.count == moments.count
    np.testing.assert_array_equal(again.m2, moments.m2)
