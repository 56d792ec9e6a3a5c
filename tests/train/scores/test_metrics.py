"""Metrics are scikit-learn's, for any weighting; the AUC is MedMNIST's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from samcache.train.scores.bootstrap import (
    RESAMPLES,
    draw_resamples,
)
from samcache.train.scores.metrics import (
    Floats,
    Ints,
    compute_accuracy,
    compute_macro_auc,
    score_weighted,
)


def draw(count: int, classes: int, seed: int, digits: int = 8) -> tuple[Ints, Floats]:
    """Labels in which every class occurs, and probabilities, with ties where digits are few."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    probabilities = rng.dirichlet(np.ones(classes), count) + np.eye(classes)[labels] * 0.2
    return labels, (probabilities / probabilities.sum(axis=1, keepdims=True)).round(digits)


def test_binary_auc_by_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.random(50).round(1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    pairs = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    assert compute_macro_auc(labels, np.stack([1 - scores, scores], 1)) == pytest.approx(pairs)


def test_multiclass_auc_is_the_plain_mean_over_classes() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    areas = [
        compute_macro_auc((labels == k).astype(int), np.stack([1 - scores[:, k], scores[:, k]], 1))
        for k in range(3)
    ]
    assert compute_macro_auc(labels, scores) == pytest.approx(np.mean(areas))


def test_accuracy_is_the_share_of_likeliest_classes_that_are_right() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert compute_accuracy(np.array([0, 0, 1]), probabilities) == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 60), st.integers(2, 5), st.integers(0, 999), st.sampled_from([1, 2, 8]))
def test_every_metric_is_scikit_learns_for_any_weights(
    count: int, classes: int, seed: int, digits: int
) -> None:
    labels, probabilities = draw(count, classes, seed, digits)
    drawn = np.random.default_rng(seed).integers(0, 4, count)
    drawn[:classes] += 1  # every class keeps a sample
    weights = np.stack([np.ones(count), drawn])
    names = tuple("abcde"[:classes])
    found = score_weighted(labels, probabilities, names, weights, ordered=True)
    predicted = probabilities.argmax(axis=1)
    for row, w in enumerate(weights):
        given = {"sample_weight": w}
        expected = {
            "accuracy": sk.accuracy_score(labels, predicted, **given),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted, **given),
            "f1": sk.f1_score(labels, predicted, average="macro", **given),
            "kappa": sk.cohen_kappa_score(labels, predicted, weights="quadratic", **given),
        }
        for k, name in enumerate(names):
            one = labels == k, probabilities[:, k]
            expected[f"auc:{name}"] = sk.roc_auc_score(*one, **given)
            expected[f"ap:{name}"] = sk.average_precision_score(*one, **given)
        areas = [expected[f"auc:{name}"] for name in names]
        expected["auc"] = areas[1] if classes == 2 else np.mean(areas)
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, abs=1e-9, nan_ok=True), name
    assert found["accuracy"][0] == pytest.approx(compute_accuracy(labels, probabilities))
    if digits == 8:
        assert found["auc"][0] == pytest.approx(compute_macro_auc(labels, probabilities))


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6], [0.0, 1.0]])
    labels = np.array([0, 1, 1, 1])
    scores = score_weighted(labels, probabilities, ("a", "b"), np.ones((1, 4)), ordered=False)
    # bins of 1/15: 0.9 and 0.92 share one with half of them right; 0.6 and 1.0 stand alone
    expected = (abs(1 - 0.9 - 0.92) + (1 - 0.6) + 0) / 4
    assert scores["ece"][0] == pytest.approx(expected)
    assert "kappa" not in scores


def test_a_resample_without_a_class_has_no_metric_that_needs_it() -> None:
    labels, probabilities = draw(12, 3, 0)
    weights = np.stack([np.ones(12), (labels != 2) * 1.0])
    scores = score_weighted(labels, probabilities, ("a", "b", "c"), weights, ordered=True)
    for name in ("auc", "balanced_accuracy", "f1", "auc:c", "ap:c"):
        assert np.isfinite(scores[name]).tolist() == [True, False], name
    for name in ("accuracy", "ece", "kappa", "auc:a"):
        assert np.isfinite(scores[name]).all(), name


def test_groups_are_drawn_whole_and_the_draws_repeat_themselves() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    weights = np.concatenate(list(draw_resamples(groups)))
    assert weights.shape == (RESAMPLES, 6)
    for group in range(3):
        members = weights[:, groups == group]
        assert (members == members[:, :1]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(weights, np.concatenate(list(draw_resamples(groups))))
