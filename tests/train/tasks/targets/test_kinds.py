"""Every kind's metrics are scikit-learn's, under every weighting; its loss and its columns fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn import metrics
from torch.nn import functional as F

from samcache.train.tasks.targets.base import LossOptions, Target
from samcache.train.tasks.targets.classes import Classes
from samcache.train.tasks.targets.findings import Findings
from samcache.train.tasks.targets.grades import Grades
from samcache.train.tasks.targets.number import Number

COUNT = 120
RNG = np.random.default_rng(0)
WEIGHTS = np.concatenate([np.ones((1, COUNT)), RNG.integers(0, 4, (3, COUNT))]).astype(float)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each sample as often as its weight says."""
    return np.repeat(values, weights.astype(int), axis=0)


def test_a_numbers_metrics() -> None:
    labels = RNG.normal(60, 12, COUNT).round()
    outputs = (labels + RNG.normal(2, 8, COUNT)).round()[:, None]
    found = Number(("age",)).score(labels, outputs, WEIGHTS)
    for r, weights in enumerate(WEIGHTS):
        wanted, given = repeated(labels, weights), repeated(outputs[:, 0], weights)
        expected = {
            "mae": metrics.mean_absolute_error(wanted, given),
            "rmse": metrics.root_mean_squared_error(wanted, given),
            "bias": (given - wanted).mean(),
            "r2": metrics.r2_score(wanted, given),
            "spearman": spearmanr(wanted, given).statistic,
        }
        assert {name: values[r] for name, values in found.items()} == pytest.approx(expected)


def test_a_number_that_never_varies_has_no_r2() -> None:
    found = Number(("x",)).score(np.full(4, 3.0), np.arange(4.0)[:, None], np.ones((1, 4)))
    assert np.isnan(found["r2"])
    assert np.isnan(found["spearman"])


def test_grades_metrics_are_of_the_median_grade() -> None:
    labels = RNG.integers(0, 4, COUNT)
    outputs = RNG.dirichlet(np.ones(4), COUNT)
    target = Grades(tuple("abcd"))
    found, decided = target.score(labels, outputs, WEIGHTS), target.decide(outputs)
    grades = np.array(["abcd".index(name) for name in decided])
    for r, weights in enumerate(WEIGHTS):
        wanted, given = repeated(labels, weights), repeated(grades, weights)
        kappa = metrics.cohen_kappa_score(wanted, given, weights="quadratic")
        assert found["kappa"][r] == pytest.approx(kappa)
        assert found["mae"][r] == pytest.approx(np.abs(wanted - given).mean())
        assert found["accuracy"][r] == pytest.approx(metrics.accuracy_score(wanted, given))


def test_findings_metrics_leave_out_what_is_unknown() -> None:
    labels = RNG.integers(0, 2, (COUNT, 3)).astype(np.float32)
    labels[RNG.random((COUNT, 3)) < 0.2] = np.nan
    outputs = RNG.random((COUNT, 3))
    found = Findings(tuple("abc")).score(labels, outputs, WEIGHTS)
    for r, weights in enumerate(WEIGHTS):
        areas, accuracies = [], []
        for k, name in enumerate("abc"):
            wanted, given = repeated(labels[:, k], weights), repeated(outputs[:, k], weights)
            wanted, given = wanted[np.isfinite(wanted)], given[np.isfinite(wanted)]
            areas.append(metrics.roc_auc_score(wanted, given))
            accuracies.append(metrics.accuracy_score(wanted, given >= 0.5))
            assert found[f"auc:{name}"][r] == pytest.approx(areas[-1])
            precision = metrics.average_precision_score(wanted, given)
            assert found[f"ap:{name}"][r] == pytest.approx(precision)
            assert found[f"prevalence:{name}"][r] == pytest.approx(wanted.mean())
        assert found["auc"][r] == pytest.approx(np.mean(areas))
        assert found["accuracy"][r] == pytest.approx(np.mean(accuracies))


def test_corns_probabilities_are_those_of_its_conditions() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    outputs = Grades(tuple("abcd"), corn=True).activate(logits)
    steps = logits.sigmoid()
    expected = torch.stack(
        [
            1 - steps[:, 0],
            steps[:, 0] * (1 - steps[:, 1]),
            steps[:, 0] * steps[:, 1] * (1 - steps[:, 2]),
            steps.prod(dim=1),
        ],
        dim=1,
    )
    torch.testing.assert_close(outputs, expected)


def test_corns_loss_is_the_mean_over_the_conditions_that_hold() -> None:
    logits = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 2, 1])
    loss = Grades(tuple("abc"), corn=True).make_loss(LossOptions(), labels)
    for head in logits:
        first = F.binary_cross_entropy_with_logits(
            head[:, 0], (labels > 0).float(), reduction="sum"
        )
        reached = labels >= 1
        second = F.binary_cross_entropy_with_logits(
            head[reached, 1], (labels[reached] > 1).float(), reduction="sum"
        )
        found = loss.sum(head[None], labels) / loss.count(labels)
        torch.testing.assert_close(found, (first + second) / (5 + 4))


def test_an_unknown_finding_has_no_part_in_the_loss() -> None:
    logits = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[1, torch.nan], [0, 1], [torch.nan, torch.nan], [1, 0]])
    loss = Findings(("a", "b")).make_loss(LossOptions(), labels)
    found = loss.sum(logits, labels) / loss.count(labels)
    known = labels.isfinite()
    expected = F.binary_cross_entropy_with_logits(logits[0][known], labels[known])
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, logits)
    assert (gradient[0][~known] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("target", "labels", "outputs"),
    [
        (Classes(("a", "b")), np.array([1, 0]), [[0.2, 0.8], [0.7, 0.3]]),
        (Grades(("a", "b", "c")), np.array([2, 0]), [[0.2, 0.2, 0.6], [0.7, 0.2, 0.1]]),
        (Findings(("a", "b")), np.array([[1, np.nan], [0, 1]], np.float32), [[1, 0], [0.1, 0.9]]),
        (Number(("mm",)), np.array([1.5, -3.25]), [[1.25], [4]]),
    ],
)
def test_labels_written_to_a_table_are_read_again(
    target: Target, labels: np.ndarray, outputs: list[list[float]]
) -> None:
    table = pd.DataFrame(target.write_labels(labels))
    assert tuple(table) == target.label_columns
    np.testing.assert_array_equal(target.read_labels(table), labels)
    values = np.array(outputs)
    assert len(target.output_columns) == values.shape[1]
    assert len(target.decide(values)) == len(target.find_main_output(values)) == 2


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (Number(("x",)), RNG.normal(size=100)),
        (Findings(("a", "b")), RNG.integers(0, 2, (100, 2)).astype(np.float32)),
    ],
)
def test_strata_are_codes_with_samples_enough_to_divide(target: Target, labels: np.ndarray) -> None:
    strata = target.find_strata(labels)
    sizes = np.bincount(strata)
    assert strata.shape == (100,)
    assert (sizes >= 5).all()
    assert len(sizes) > 3
