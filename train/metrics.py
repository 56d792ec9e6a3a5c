"""The metrics of predicted probabilities, for many weightings of the samples at once.

A weighting is how often each sample counts: ones for the metric itself, and a bootstrap's draws for
its interval. The definitions are scikit-learn's, and MedMNIST's for the macro AUC.
"""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

CALIBRATION_BINS = 15


def accuracy(labels: Ints, probabilities: Floats) -> float:
    """Share of samples whose likeliest class is theirs; labels (n,), probabilities (n, K)."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def macro_auc(labels: Ints, probabilities: Floats) -> float:
    """Mean over classes of the one-vs-rest ROC AUC; labels (n,), probabilities (n, K).

    For two classes this is the AUC of the second. Every class must occur (medmnist/evaluator.py).
    """
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    areas = [
        roc_auc_score(labels == label, probabilities[:, label])
        for label in range(probabilities.shape[1])
    ]
    return float(np.mean(areas))


def weighted_scores(
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
    pairs = np.eye(count * count)[labels * count + predicted]
    confusion = (weights @ pairs).reshape(-1, count, count)  # R, true, predicted
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = _confusion_scores(confusion)
        ranked = [_ranking_scores(labels == k, probabilities[:, k], weights) for k in range(count)]
        areas = [area for area, _ in ranked]
        scores["auc"] = areas[1] if count == 2 else np.mean(areas, axis=0)
        scores["ece"] = _calibration_error(labels == predicted, probabilities.max(axis=1), weights)
        if ordered:
            scores["kappa"] = _quadratic_kappa(confusion)
    for name, (area, precision) in zip(classes, ranked, strict=True):
        scores[f"auc:{name}"], scores[f"ap:{name}"] = area, precision
    return scores


def _confusion_scores(confusion: Floats) -> dict[str, Floats]:
    """Accuracy, balanced accuracy and macro F1 of confusion matrices (R, K, K)."""
    right = np.diagonal(confusion, axis1=1, axis2=2)  # R, K
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    present = np.where(true > 0, 1.0, np.nan)  # without a sample, neither recall nor F1
    return {
        "accuracy": right.sum(axis=1) / true.sum(axis=1),
        "balanced_accuracy": (right / true).mean(axis=1),
        "f1": (present * 2 * right / (true + predicted)).mean(axis=1),
    }


def _quadratic_kappa(confusion: Floats) -> Floats:
    """Cohen's kappa with quadratic weights, of confusion matrices (R, K, K)."""
    places = np.arange(confusion.shape[1])
    cost = (places[:, None] - places) ** 2
    total = confusion.sum(axis=(1, 2))
    chance = confusion.sum(axis=2)[:, :, None] * confusion.sum(axis=1)[:, None, :]
    expected = (chance * cost).sum(axis=(1, 2)) / total
    kappa: Floats = 1 - (confusion * cost).sum(axis=(1, 2)) / expected
    return kappa


def _ranking_scores(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """ROC AUC and average precision, (2, R); ties count half in the one, as one in the other."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of equal scores, descending
    weighted = weights[:, order]
    hits = np.add.reduceat(weighted * positive[order], starts, axis=1)  # R, distinct scores
    alarms = np.add.reduceat(weighted * ~positive[order], starts, axis=1)
    found, false = hits.cumsum(axis=1), alarms.cumsum(axis=1)
    positives, negatives = found[:, -1], false[:, -1]
    below = negatives[:, None] - false + alarms / 2  # negatives with a lower score
    area = (hits * below).sum(axis=1) / (positives * negatives)
    precision = found / np.maximum(found + false, 1e-12)
    return np.stack([area, (hits * precision).sum(axis=1) / positives])


def _calibration_error(right: npt.NDArray[np.bool_], confidence: Floats, weights: Floats) -> Floats:
    """Expected calibration error over bins (a, b] of equal width (Guo et al. 2017, equation 3)."""
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, None)
    gaps = np.eye(CALIBRATION_BINS)[bins] * (right - confidence)[:, None]  # n, bins
    error: Floats = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return error
