"""The metrics of predicted probabilities, for many weightings of the samples at once.

A weighting is how often each sample counts: ones for the metric itself, and a bootstrap's draws for
its interval. The definitions are scikit-learn's, and MedMNIST's for the macro AUC.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta
from scipy.sparse import csc_array
from scipy.stats import rankdata

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
Score = Annotated[float, Meta(ge=-1e15, le=1e15)]  # of any metric, its spread, its bounds

CALIBRATION_BINS = 15


def compute_accuracy(labels: Ints, probabilities: Floats) -> float:
    """Share of samples whose likeliest class is theirs; labels (n,), probabilities (n, K)."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def compute_macro_auc(labels: Ints, probabilities: Floats) -> float:
    """Mean over classes of the one-vs-rest ROC AUC; labels (n,), probabilities (n, K).

    For two classes this is the AUC of the second. Every class must occur (medmnist/evaluator.py).
    """
    areas = _compute_areas(labels, probabilities)
    return float(areas[1] if len(areas) == 2 else areas.mean())


def _compute_areas(labels: Ints, probabilities: Floats) -> Floats:
    """Each class's one-vs-rest ROC AUC, (K,), from ranks (Mann and Whitney 1947)."""
    samples, classes = probabilities.shape
    areas = np.empty(classes)
    for k in range(classes):
        positive = labels == k
        own = int(positive.sum())
        ranks = float(rankdata(probabilities[:, k])[positive].sum())  # from 1, ties their mean
        pairs = own * (samples - own)
        areas[k] = (ranks - own * (own + 1) / 2) / pairs if pairs else np.nan
    return areas


def score_weighted(
    labels: Ints, probabilities: Floats, classes: tuple[str, ...], weights: Floats, ordered: bool
) -> dict[str, Floats]:
    """Every metric by name, (R,) float64 each, of R weightings (R, n) of n samples.

    labels: (n,) below K; probabilities: (n, K). Names: accuracy, balanced_accuracy, auc (macro
    mean, for two classes the second's), f1 (macro), ece, for ordered classes kappa (quadratic
    weights), and auc:CLASS and ap:CLASS (average precision). nan where a class that the metric
    needs has no weight.
    """
    count = len(classes)
    predicted = probabilities.argmax(axis=1)
    columns = np.ascontiguousarray(weights.T)  # n, R, as the sums below read them
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = _score_answers(labels, predicted, count, columns)
        ranked = [score_ranking(labels == k, probabilities[:, k], columns) for k in range(count)]
        areas = [area for area, _ in ranked]
        scores["auc"] = areas[1] if count == 2 else np.mean(areas, axis=0)
        scores["ece"] = _compute_calibration_error(
            labels == predicted, probabilities.max(axis=1), weights
        )
        if ordered:
            scores["kappa"] = _compute_kappa(labels, predicted, count, columns)
    for name, (area, precision) in zip(classes, ranked, strict=True):
        scores[f"auc:{name}"], scores[f"ap:{name}"] = area, precision
    return scores


def score_grades(
    labels: Ints, probabilities: Floats, grades: tuple[str, ...], weights: Floats
) -> dict[str, Floats]:
    """Every metric by name, (R,) float64 each, as ``score_weighted``, of grades in their order.

    The answer is the median grade (``find_medians``), but for ece, which is that of the likeliest.
    First come kappa (quadratic weights) and mae, the mean absolute error in grades.
    """
    predicted, columns = find_medians(probabilities), np.ascontiguousarray(weights.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        answers = _score_answers(labels, predicted, len(grades), columns)
        scores = {
            "kappa": _compute_kappa(labels, predicted, len(grades), columns),
            "mae": np.abs(labels - predicted).astype(np.float64) @ columns / columns.sum(axis=0),
        }
    return scores | score_weighted(labels, probabilities, grades, weights, False) | answers


def find_medians(probabilities: Floats) -> Ints:
    """For each line of (n, K) the lowest grade whose probability, with those below, is a half."""
    reached = probabilities.cumsum(axis=1) >= 0.5
    reached[:, -1] = True  # a sum of float32 can stay a little below
    medians: Ints = reached.argmax(axis=1)
    return medians


def sum_by_code(codes: Ints, count: int, columns: Floats) -> Floats:
    """The weights (n, R) of the samples of each code below ``count``, (count, R).

    Needs memory for the result alone: a table of pairs of classes would have K^2 lines.
    """
    places = np.arange(len(codes) + 1)
    table = csc_array((np.ones(len(codes)), codes, places), shape=(count, len(codes)))
    summed: Floats = table @ columns
    return summed


def _score_answers(labels: Ints, predicted: Ints, count: int, columns: Floats) -> dict[str, Floats]:
    """Accuracy, balanced accuracy and macro F1 of answers (n,) under weights (n, R)."""
    hit = labels == predicted
    right = sum_by_code(labels[hit], count, columns[hit]).T.copy()  # R, K
    true, answers = (sum_by_code(codes, count, columns).T.copy() for codes in (labels, predicted))
    present = np.where(true > 0, 1.0, np.nan)  # without a sample, neither recall nor F1
    return {
        "accuracy": right.sum(axis=1) / true.sum(axis=1),
        "balanced_accuracy": (right / true).mean(axis=1),
        "f1": (present * 2 * right / (true + answers)).mean(axis=1),
    }


def _compute_kappa(labels: Ints, predicted: Ints, count: int, columns: Floats) -> Floats:
    """Cohen's kappa with quadratic weights of answers (n,) under weights (n, R).

    The chance of a cost (i - j)^2 follows from the first two moments of either side.
    """
    places = np.arange(count, dtype=np.float64)
    true, answers = (sum_by_code(codes, count, columns) for codes in (labels, predicted))  # K, R
    total = true.sum(axis=0)
    squares = (places**2 @ true) * answers.sum(axis=0) + total * (places**2 @ answers)
    expected = (squares - 2 * (places @ true) * (places @ answers)) / total
    cost = (labels - predicted).astype(np.float64) ** 2
    kappa: Floats = 1 - (cost @ columns) / expected
    return kappa


def score_ranking(positive: npt.NDArray[np.bool_], scores: Floats, columns: Floats) -> Floats:
    """ROC AUC and average precision under weights (n, R), (2, R).

    Ties count half in the one, as one in the other. Only a positive's place among the negatives
    matters: the weights of negatives are summed between two distinct scores of positives.
    """
    values, code = np.unique(scores[positive], return_inverse=True)  # ascending
    if len(values) == 0:
        return np.full((2, columns.shape[1]), np.nan)
    hits = sum_by_code(code, len(values), columns[positive])  # distinct scores, R
    others, count = scores[~positive], 2 * len(values) + 1
    between = np.searchsorted(values, others, "left") + np.searchsorted(values, others, "right")
    alarms = sum_by_code(between, count, columns[~positive])  # odd lines: at a positive's score
    positives, negatives = hits.sum(axis=0), alarms.sum(axis=0)
    beaten = alarms.cumsum(axis=0)  # of lower and equal scores
    below = beaten[1::2] - alarms[1::2] / 2
    area = (hits * below).sum(axis=0) / (positives * negatives)
    found = hits[::-1].cumsum(axis=0)[::-1]  # of equal and higher scores
    false = negatives - beaten[0:-1:2]
    precision = found / np.maximum(found + false, 1e-12)
    return np.stack([area, (hits * precision).sum(axis=0) / positives])


def _compute_calibration_error(
    right: npt.NDArray[np.bool_], confidence: Floats, weights: Floats
) -> Floats:
    """Expected calibration error over bins (a, b] of equal width (Guo et al. 2017, equation 3)."""
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1
    bins = np.clip(bins, 0, CALIBRATION_BINS - 1)  # 0, and what rounding lifts above 1
    gaps = np.eye(CALIBRATION_BINS)[bins] * (right - confidence)[:, None]  # n, bins
    error: Floats = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return error
