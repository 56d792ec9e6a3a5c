"""Whether stated probabilities and predicted numbers are what happens."""

from collections.abc import Sequence

import numpy as np
from sklearn.calibration import calibration_curve

from samcache.train.report.drawings.curves import MOST_TOLD, ONE_OF_SEVERAL, Curve, name_rest
from samcache.train.report.drawings.svg import (
    FAINT,
    SERIES,
    Figure,
    add_legend,
    make_figure,
    open_canvas,
    shorten_name,
)
from samcache.train.scores.metrics import CALIBRATION_BINS, Bools, Floats


def draw_calibration(
    right: Bools, confidence: Floats, classes: int, finding: str, reading: str
) -> Figure:
    """Share of right answers (n,) against the probability (n,) given to them."""
    found, said = calibration_curve(right, confidence, n_bins=CALIBRATION_BINS)
    with open_canvas(nrows=2, height_ratios=(3, 1), sharex=True) as (drawing, (axes, below)):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        axes.plot(said, found, color=SERIES[0], marker="o", markersize=4)
        axes.set(ylabel="share that is right", ylim=(0, 1.02))
        below.hist(confidence, bins=CALIBRATION_BINS, range=(0, 1), color=SERIES[0], alpha=0.6)
        below.set(xlabel="probability given to the answer", ylabel="answers")
        below.set_xlim(1 / classes - 0.02, 1.02)
        return make_figure(drawing, "Calibration", finding, reading)


def draw_reliability(curves: Sequence[Curve], errors: Sequence[float], reading: str) -> Figure:
    """Share of images with a finding against the probability given to it, a line a finding."""
    with open_canvas() as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        for curve, error in zip(curves, errors, strict=True):
            found, said = calibration_curve(curve.positive, curve.scores, n_bins=CALIBRATION_BINS)
            text = f"error {error:.3f}: {shorten_name(curve.name)}"
            colour = SERIES[curve.place]
            axes.plot(
                said, found, color=colour, marker="o", markersize=3, label=text, **ONE_OF_SEVERAL
            )
        axes.set(xlabel="probability given to the finding", ylabel="share with the finding")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        add_legend(drawing)
        each = [
            f"{error:.3f} for “{shorten_name(curve.name)}”"
            for curve, error in list(zip(curves, errors, strict=True))[:MOST_TOLD]
        ]
        finding = f"Calibration error {', '.join(each)}{name_rest(len(curves))}."
        return make_figure(drawing, "Calibration", finding, reading)


def measure_calibration(positive: Bools, chances: Floats) -> float:
    """Expected calibration error of one finding, over bins of equal width; nan without images."""
    if not len(positive):
        return float("nan")
    bins = np.clip(np.ceil(chances * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, positive - chances, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(positive))
