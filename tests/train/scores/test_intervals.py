"""Intervals: DeLong's variance, the bootstrap's, and seeds, each counted once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from samcache.train.compare import describe_difference
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.delong import find_influence
from samcache.train.scores.intervals import Draws, Interval, Summary, estimate
from samcache.train.scores.metrics import Bools, Floats
from samcache.train.tasks.targets.classes import Classes
from samcache.train.tasks.targets.findings import Findings


def compute_delong(positive: Bools, scores: Floats) -> tuple[float, float]:
    """AUC and its variance by comparing every pair (DeLong et al. 1988, equations 4 to 7)."""
    first, second = scores[positive][:, None], scores[~positive][None]
    kernel = (first > second) + (first == second) / 2
    area = kernel.mean()
    by_positive, by_negative = kernel.mean(axis=1), kernel.mean(axis=0)
    variance = by_positive.var(ddof=1) / len(by_positive)
    return area, variance + by_negative.var(ddof=1) / len(by_negative)


def draw_predictions(seeds: int, samples: int = 120, classes: int = 2) -> LabelledPredictions:
    rng = np.random.default_rng(seeds)
    labels = rng.integers(0, classes, samples)
    logits = rng.normal(size=(seeds, samples, classes)).round(1) + np.eye(classes)[labels]
    chance = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    target = Classes(tuple(map(str, range(classes))))
    return LabelledPredictions(labels, np.arange(samples), chance, target)


def test_the_variance_of_an_auc_is_delongs() -> None:
    one = draw_predictions(1)
    area, variance = compute_delong(one.labels == 1, one.probabilities[0, :, 1])
    assert one.score_trainings()["auc"] == pytest.approx([area])
    found, _ = one.draw_scores()["auc"].measure()
    assert found == pytest.approx(variance, rel=1e-12)
    interval = one.summarise()["auc"].interval
    assert interval is not None
    half = stats.t.ppf(0.975, 119) * np.sqrt(variance)
    assert (interval.low, interval.high) == pytest.approx((area - half, area + half))


def test_the_variance_of_a_difference_is_delongs_of_correlated_areas() -> None:
    two = draw_predictions(2)
    positive, scores = two.labels == 1, two.probabilities[:, :, 1]
    first, second = (find_influence(positive, values) for values in scores)
    own = [compute_delong(positive, values)[1] for values in scores]
    covariance = float(first @ second)
    drawn = [
        replace(two, probabilities=two.probabilities[[n]]).draw_scores()["auc"] for n in (0, 1)
    ]
    variance, _ = drawn[0].subtract(drawn[1]).measure()
    assert variance == pytest.approx(sum(own) - 2 * covariance)


def test_a_mean_over_classes_or_findings_moves_as_their_mean() -> None:
    several = draw_predictions(1, classes=4)
    influences = several.target.find_influences(several.labels, several.probabilities[0])
    own = np.stack([influences[f"auc:{name}"] for name in range(4)])
    np.testing.assert_allclose(influences["auc"], own.mean(axis=0))
    labels = np.eye(4)[several.labels]
    labels[:10, 0] = np.nan
    unknown = Findings(("a", "b", "c", "d")).find_influences(labels, several.probabilities[0])
    assert (unknown["auc:a"][:10] == 0).all()
    np.testing.assert_allclose(unknown["auc:b"], influences["auc:1"])


@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1"])
def test_the_second_image_of_a_patient_adds_no_certainty(metric: str) -> None:
    alone = draw_predictions(3)
    twice = LabelledPredictions(
        alone.labels.repeat(2),
        alone.groups.repeat(2),
        alone.probabilities.repeat(2, 1),
        alone.target,
    )
    first, second = (each.summarise()[metric].interval for each in (alone, twice))
    assert first is not None
    assert second is not None
    assert second.high - second.low == pytest.approx(first.high - first.low, rel=0.01)


def test_the_interval_of_an_accuracy_is_the_binomials() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.8
    labels = rng.integers(0, 2, 400)
    probabilities = np.eye(2)[np.where(right, labels, 1 - labels)][None]
    alone = LabelledPredictions(labels, np.arange(400), probabilities, Classes(("a", "b")))
    interval = alone.summarise()["accuracy"].interval
    assert interval is not None
    deviation = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert interval.low == pytest.approx(right.mean() - 1.97 * deviation, abs=0.004)
    assert interval.high == pytest.approx(right.mean() + 1.97 * deviation, abs=0.004)


def test_seeds_that_differ_widen_the_interval_by_students_t() -> None:
    still = Draws(np.zeros((100, 3)), False, 1.0, 99)
    summary = Summary.of("auc", np.array([0.6, 0.7, 0.8]), still)
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert summary.interval == Interval(
        pytest.approx(0.7 - half), pytest.approx(min(1, 0.7 + half)), 0
    )


def test_the_spreads_of_two_runs_add_up_with_welchs_degrees() -> None:
    still = Draws(np.zeros((100, 3)), False, 1.0, 99)
    first, second = np.array([0.80, 0.82, 0.84]), np.array([0.70, 0.71, 0.74])
    difference = describe_difference((first, still), (second, still))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert difference.p == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval()
    assert difference.interval == Interval(pytest.approx(ends.low), pytest.approx(ends.high), 0)


def test_noise_of_an_image_and_a_seed_is_counted_once() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 5)) / np.sqrt(4000)  # nothing is common to the seeds
    draws = Draws(values, False, 1.0, 3999)
    sampling, shared = draws.measure()
    assert shared == pytest.approx(sampling, rel=0.05)
    found = estimate(0.5, (0.5 + rng.normal(size=5),), draws)
    alone = estimate(0.5, (0.5 + rng.normal(size=5) * 0,), draws)
    assert found is not None
    assert alone is not None
    assert alone.variance == pytest.approx(sampling)


def test_draws_without_a_class_do_not_count() -> None:
    values = np.array([[0.5], [0.7], [np.nan], [0.6]])
    draws = Draws(values, True, 1.0, 9)
    assert draws.resamples == 3
    summary = Summary.of("f1", np.array([0.6]), draws)
    assert summary.interval is not None
    assert summary.interval.resamples == 3
    assert Summary.of("f1", np.array([0.6]), replace(draws, values=values[1:3])).interval is None


def test_one_patient_alone_gives_no_interval() -> None:
    alone = replace(draw_predictions(2), groups=np.zeros(120, np.int64))
    assert all(summary.interval is None for summary in alone.summarise().values())


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [("auc", 0, 1), ("auc:a", 0, 1), ("kappa", -1, 1), ("mae", 0, np.inf), ("r2", -np.inf, 1)],
)
def test_an_interval_stays_within_what_the_metric_can_be(
    metric: str, low: float, high: float
) -> None:
    wide = Draws(np.array([[-9.0], [9.0]]), False, 1.0, 1)
    interval = Summary.of(metric, np.array([0.9]), wide).interval
    assert interval is not None
    assert interval.low >= low
    assert interval.high <= high
