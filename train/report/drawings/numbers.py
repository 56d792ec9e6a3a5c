"""Predicted numbers against true ones: a scatter, their differences, their calibration."""

from typing import Any

import numpy as np

from samcache.train.report.drawings.agreement import Agreement, format_number
from samcache.train.report.drawings.svg import (
    FAINT,
    INK,
    SERIES,
    Figure,
    add_legend,
    make_figure,
    open_canvas,
)
from samcache.train.scores.metrics import Floats, Ints

_MOST_POINTS = 2000  # drawn, so that a page stays small
_POINTS: dict[str, Any] = {
    "linestyle": "", "marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.35,
}  # fmt: skip


def draw_scatter(labels: Floats, values: Floats, unit: str, finding: str) -> Figure:
    """Predicted against true numbers (n,), with the line where both are equal."""
    shown = _choose_points(len(labels))
    ends = [min(labels.min(), values.min()), max(labels.max(), values.max())]
    with open_canvas() as (drawing, axes):
        axes.plot(labels[shown], values[shown], color=SERIES[0], **_POINTS)
        axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1.2, label="prediction = truth")
        axes.set(xlabel=_name_axis("true", unit), ylabel=_name_axis("predicted", unit))
        add_legend(drawing)
        reading = (
            "Each point is a test image. On the dashed line, the prediction is right; above the "
            f"line, it is too high.{_tell_points(len(labels))}"
        )
        return make_figure(drawing, "Predicted and true", finding, reading)


def draw_bland_altman(labels: Floats, values: Floats, unit: str) -> Figure:
    """Differences of predicted and true numbers against their means (Bland and Altman 1986)."""
    shown, agreement = _choose_points(len(labels)), Agreement.of(labels, values)
    with open_canvas() as (drawing, axes):
        middle, difference = (labels + values) / 2, values - labels
        axes.plot(middle[shown], difference[shown], color=SERIES[0], **_POINTS)
        axes.axhline(0, color=FAINT, linewidth=1.2)
        mean = format_number(agreement.mean)
        axes.axhline(agreement.mean, color=INK, label=f"mean difference {mean}")
        for place, edge in enumerate((agreement.low, agreement.high)):
            label = None if place else "95 % limits of agreement"
            axes.axhline(edge, color=SERIES[1], linestyle="--", label=label)
        axes.set(
            xlabel=_name_axis("mean of predicted and true", unit),
            ylabel=_name_axis("predicted − true", unit),
        )
        add_legend(drawing)
        reading = (
            "Each point is a test image. Between the dashed limits lie about 95 % of the "
            "differences. Points that fall from left to right show that high numbers are predicted "
            f"too low, and low numbers too high.{_tell_points(len(labels))}"
        )
        return make_figure(drawing, "Bland-Altman plot", agreement.describe(unit), reading)


def draw_number_calibration(labels: Floats, values: Floats, unit: str) -> Figure:
    """Mean true number of the images whose predictions are alike, and the line through all."""
    said, found, spread = _average_bins(labels, values)
    slope, start = _fit_line(labels, values)
    ends = np.array([values.min(), values.max()])
    with open_canvas() as (drawing, axes):
        axes.plot(ends, ends, color=FAINT, linestyle="--", linewidth=1.2)
        axes.errorbar(
            said, found, 1.96 * spread, color=SERIES[0], linestyle="", marker="o", markersize=4,
            capsize=3, elinewidth=1, label="mean of one part of the images",
        )  # fmt: skip
        axes.plot(ends, start + slope * ends, color=SERIES[1], label=f"slope {slope:.2f}")
        axes.set(xlabel=_name_axis("predicted", unit), ylabel=_name_axis("mean of the true", unit))
        add_legend(drawing)
        reading = (
            "The images are sorted by their prediction and cut into ten parts, or fewer. On the "
            "dashed line, the mean of the true numbers is what was predicted. A slope below 1 "
            "means that predictions are too extreme; above 1, that they differ too little. Bars "
            "are 95 % intervals of the mean."
        )
        finding = f"Slope {slope:.2f}: with one unit more predicted, {slope:.2f} more are true."
        return make_figure(drawing, "Calibration", finding, reading)


def _average_bins(labels: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean prediction, mean label and its standard error of up to ten parts of the images."""
    parts = max(1, min(10, len(values) // 5))
    rows = [part for part in np.array_split(np.argsort(values, kind="stable"), parts) if len(part)]
    said, found = (np.array([v[part].mean() for part in rows]) for v in (values, labels))
    spread = [labels[p].std(ddof=1) / np.sqrt(len(p)) if len(p) > 1 else 0.0 for p in rows]
    return said, found, np.array(spread)


def _fit_line(labels: Floats, values: Floats) -> tuple[float, float]:
    """Slope and start of the least squares line from predictions to labels."""
    centred = values - values.mean(dtype=np.float64)
    power = float(centred @ centred)
    slope = float(centred @ labels) / power if power > 0 else float("nan")
    return slope, float(labels.mean() - slope * values.mean())


def _name_axis(what: str, unit: str) -> str:
    return f"{what} ({unit})" if unit else what


def _choose_points(count: int) -> Ints:
    """All places below ``count``, or a random part of them, always the same."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, _MOST_POINTS, replace=False))


def _tell_points(count: int) -> str:
    if count <= _MOST_POINTS:
        return ""
    return f" Of {count} images, {_MOST_POINTS} are drawn, chosen at random."
