"""What a report says of a number in its unit."""

from typing import ClassVar

import numpy as np
import pandas as pd

from samcache.train.report.checks.finding import CAUTION, FINE, Finding
from samcache.train.report.drawings.agreement import Agreement, format_number, write_number
from samcache.train.report.drawings.numbers import (
    draw_bland_altman,
    draw_number_calibration,
    draw_scatter,
)
from samcache.train.report.drawings.svg import Figure
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.kinds.base import Caption, ReportKind, check_size, describe_tested
from samcache.train.scores.intervals import Summary
from samcache.train.scores.metrics import Floats

_WIDE_INTERVAL = 0.2  # of the mean absolute error, as a share of it
_IN_UNIT = ("mae", "rmse", "bias")
_SMALLEST, _LARGEST = 0, 1  # errors: the groups of examples


class NumberReport(ReportKind):
    """One number."""

    compared = ("mae", "r2")
    tiles = ("mae", "rmse", "r2", "spearman")
    predictor = "predictor"
    outputs = "predicted numbers"
    purpose = "predicting a number from images"
    nouns = ("number", "numbers")
    positives = ""
    examples = "The images with the smallest and with the largest absolute error."
    definitions: ClassVar = {
        "mae": "How far the prediction is from the true number, on average. 0 is perfect.",
        "rmse": "Root of the mean squared error: large errors weigh more. 0 is perfect.",
        "bias": "Mean of prediction less true number. Above 0, predictions are too high on "
        "average.",
        "r2": "Share of the variance of the true numbers that the predictions explain. 1 is "
        "perfect; 0 is what the mean of the test images reaches, given as every answer.",
        "spearman": "Whether images with a higher prediction have a higher true number: rank "
        "correlation. 1 is the same order, 0 is none.",
    }

    def name_metric(self, run: ReportedRun, metric: str) -> str:
        unit = f" ({_find_unit(run)})" if metric in _IN_UNIT and _find_unit(run) else ""
        return super().name_metric(run, metric) + unit

    def describe_subject(self, run: ReportedRun) -> str:
        unit = _find_unit(run)
        return f"{run.classes[0]} ({unit})" if unit else run.classes[0]

    def describe_data(self, run: ReportedRun) -> str:
        unit = _find_unit(run)
        span = f"{run.labels.min():g} to {run.labels.max():g} {unit}".rstrip()
        return f"number “{run.classes[0]}”, {span} in the test images"

    def write_result(self, run: ReportedRun) -> list[str]:
        unit, error = _find_unit(run), run.metrics["mae"]
        constant = float(np.abs(run.labels - np.median(run.labels)).mean())
        explained = run.metrics["r2"]
        return [
            f"{describe_tested(run)} the prediction is {write_number(error.mean, unit)} from the "
            f"true number on average{_write_interval(error, unit)}; always answering their median, "
            f"{write_number(float(np.median(run.labels)), unit)}, is "
            f"{write_number(constant, unit)} from it.",
            f"The predictions explain {100 * explained.mean:.1f} % of the variance (R² "
            f"{explained.mean:.3f}{_write_interval(explained, '', ', ', '')}). "
            f"{Agreement.of(run.labels, _read_values(run)).describe(unit)}",
        ]

    def draw_answers(self, run: ReportedRun) -> list[Figure]:
        labels, values, unit = run.labels, _read_values(run), _find_unit(run)
        finding = (
            f"Mean absolute error {write_number(run.metrics['mae'].mean, unit)}; R² "
            f"{run.metrics['r2'].mean:.3f}."
        )
        return [
            draw_scatter(labels, values, unit, finding),
            draw_bland_altman(labels, values, unit),
            draw_number_calibration(labels, values, unit),
        ]

    def check_test(self, facts: Facts) -> list[Finding]:
        run = facts.run
        error, explained = run.metrics["mae"], run.metrics["r2"]
        text = (
            f"The mean absolute error is {write_number(error.mean, _find_unit(run))}"
            f"{_write_interval(error, _find_unit(run))}. This test set cannot show small "
            "differences."
        )
        found = [check_size(run, "mae", _WIDE_INTERVAL * error.mean, text)]
        if explained.interval is not None and explained.interval.low > 0:
            return [*found, Finding(FINE, "The prediction is better than a constant answer")]
        text = (
            f"R² is {explained.mean:.3f}{_write_interval(explained, '')}, and 0 is what the mean "
            "of the test images reaches, given as every answer."
        )
        title = "The prediction is not clearly better than a constant answer"
        return [*found, Finding(CAUTION, title, text)]

    def check_outputs(self, facts: Facts) -> list[Finding]:
        run, unit = facts.run, _find_unit(facts.run)
        bias = run.metrics["bias"]
        if bias.interval is None or bias.interval.low <= 0 <= bias.interval.high:
            return [
                Finding(FINE, "Predictions are neither clearly too high nor too low on average")
            ]
        way = "high" if bias.mean > 0 else "low"
        text = (
            f"The mean difference is {write_number(bias.mean, unit)}{_write_interval(bias, unit)}."
        )
        return [Finding(CAUTION, f"Predictions are too {way} on average", text)]

    def count_tested(self, run: ReportedRun) -> list[tuple[str, int]]:  # noqa: ARG002
        return []

    def list_example_groups(self, run: ReportedRun) -> list[tuple[int, str]]:
        error = np.abs(_read_values(run) - run.labels)
        low, high = (write_number(float(e), _find_unit(run)) for e in (error.min(), error.max()))
        return [
            (_SMALLEST, f"Smallest errors, from {low}"),
            (_LARGEST, f"Largest errors, to {high}"),
        ]

    def rank_examples(self, run: ReportedRun) -> pd.DataFrame:
        error = np.abs(_read_values(run) - run.labels)
        table = pd.DataFrame({"sample": np.arange(len(error)), "error": error})
        table["id"] = run.samples["id"].to_numpy()
        best = table.sort_values(["error", "id"]).assign(group=_SMALLEST, right=True)
        worst = table.sort_values(["error", "id"], ascending=[False, True])
        return pd.concat([best, worst.assign(group=_LARGEST, right=False)])

    def write_caption(self, run: ReportedRun, sample: int, group: int) -> Caption:  # noqa: ARG002
        true = f"{run.labels[sample]:g}"
        value = format_number(float(run.probabilities[sample, 0]))
        unit = _find_unit(run)
        truth = f"{run.classes[0]} {true} {unit}".rstrip()
        return Caption(f"true {true}, predicted", value, unit, truth)


def _find_unit(run: ReportedRun) -> str:
    unit: str = getattr(run.target, "unit", "")
    return unit


def _read_values(run: ReportedRun) -> Floats:
    """The predicted number of each test image, (n,) float64."""
    values: Floats = run.probabilities[:, 0].astype(np.float64)
    return values


def _write_interval(summary: Summary, unit: str, before: str = " (", after: str = ")") -> str:
    if summary.interval is None:
        return ""
    low, high = format_number(summary.interval.low), write_number(summary.interval.high, unit)
    return f"{before}95 % interval {low} to {high}{after}"
