"""Accuracy and AUC as MedMNIST defines them."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


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
