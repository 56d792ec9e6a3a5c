"""Metrics of a predicted number."""

import numpy as np

from samcache.train.scores.metrics import Floats, sum_by_code


def score_numbers(labels: Floats, values: Floats, weights: Floats) -> dict[str, Floats]:
    """Every metric by name, (R,) float64 each, of R weightings (R, n) of n samples.

    labels, values: (n,) in the number's unit. Names: mae, rmse and bias (mean error) in that unit,
    r2 (coefficient of determination) and spearman (rank correlation, ties their mean). nan where
    all labels, or for spearman all values, are the same.
    """
    weights = weights.astype(np.float64)
    error = values.astype(np.float64) - labels
    total = weights.sum(axis=1)
    centred = labels - labels.mean(dtype=np.float64)
    mean = weights @ centred / total
    variance = weights @ centred**2 / total - mean**2
    squared = weights @ error**2 / total
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.where(variance > 1e-12 * (centred**2).max(), 1 - squared / variance, np.nan)
    return {
        "mae": weights @ np.abs(error) / total,
        "rmse": np.sqrt(squared),
        "bias": weights @ error / total,
        "r2": explained,
        "spearman": _correlate_ranks(labels, values, weights),
    }


def _correlate_ranks(labels: Floats, values: Floats, weights: Floats) -> Floats:
    """Spearman's correlation (R,) under weights (R, n)."""
    columns = np.ascontiguousarray(weights.T)  # n, R
    first, second = _rank(labels, columns), _rank(values, columns)
    total = columns.sum(axis=0)
    first -= (columns * first).sum(axis=0) / total
    second -= (columns * second).sum(axis=0) / total
    shared = (columns * first * second).sum(axis=0)
    own = (columns * first**2).sum(axis=0) * (columns * second**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: Floats = np.where(own > 0, shared / np.sqrt(own), np.nan)
    return correlation


def _rank(values: Floats, columns: Floats) -> Floats:
    """Ranks (n, R) of values (n,) that occur as often as weights (n, R) say, ties their mean."""
    codes = np.unique(values, return_inverse=True)[1]
    own = sum_by_code(codes, int(codes.max()) + 1, columns)
    ranks: Floats = (own.cumsum(axis=0) - own + (own + 1) / 2)[codes]
    return ranks
