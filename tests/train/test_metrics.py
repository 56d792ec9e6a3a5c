"""Accuracy and AUC as MedMNIST's evaluator computes them."""

import numpy as np
import pytest

from samcache.train.metrics import accuracy, macro_auc


def test_binary_auc_by_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.random(50).round(1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    pairs = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    assert macro_auc(labels, np.stack([1 - scores, scores], 1)) == pytest.approx(pairs)


def test_multiclass_auc_is_the_plain_mean_over_classes() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    areas = [
        macro_auc((labels == k).astype(int), np.stack([1 - scores[:, k], scores[:, k]], 1))
        for k in range(3)
    ]
    assert macro_auc(labels, scores) == pytest.approx(np.mean(areas))


def test_accuracy_is_the_share_of_likeliest_classes_that_are_right() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert accuracy(np.array([0, 0, 1]), probabilities) == pytest.approx(2 / 3)
