"""ROC curves and curves of precision and recall, a line for each class, finding or grade."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from samcache.train.report.drawings.svg import (
    FAINT,
    SERIES,
    Figure,
    add_legend,
    make_figure,
    open_canvas,
    shorten_name,
)
from samcache.train.scores.metrics import Floats

MOST_CURVES = len(SERIES)  # classes or runs drawn in one figure
MOST_TOLD = 4  # classes named in a sentence
ONE_OF_SEVERAL: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.85}


@dataclass(frozen=True)
class Curve:
    """What a class's curve is drawn from, for n test images.

    positive: (n,), scores: (n,), higher for the class. place: of its colour, the same in every
    figure. auc, ap: as the page has them, nan where they are not defined.
    """

    name: str
    positive: npt.NDArray[np.bool_]
    scores: Floats
    place: int
    auc: float
    ap: float = np.nan


def choose_largest(sizes: npt.NDArray[np.integer]) -> list[int]:
    """The places of the names that get a curve: of many those with most test images."""
    return sorted(np.argsort(-sizes, kind="stable")[:MOST_CURVES].tolist())


def draw_roc(curves: Sequence[Curve], reading: str, title: str = "ROC curve") -> Figure:
    """True positive against false positive rate, a line a class."""
    with open_canvas() as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        for curve in curves:
            false, true, _ = roc_curve(curve.positive, curve.scores)
            text = _make_label(curve, "AUC", curve.auc)
            axes.plot(false, true, color=SERIES[curve.place], label=text, **ONE_OF_SEVERAL)
        _set_axes(axes, "false alarms (1 − specificity)", "found (sensitivity)")
        add_legend(drawing)
        finding = _list_values("AUC", [(curve.name, curve.auc) for curve in curves])
        return make_figure(drawing, title, finding, reading)


def draw_precision_recall(curves: Sequence[Curve], reading: str) -> Figure:
    """Precision against recall, a line a class, with the class's share as floor."""
    finding = _list_values("Average precision", [(curve.name, curve.ap) for curve in curves])
    with open_canvas() as (drawing, axes):
        for curve in curves:
            colour = SERIES[curve.place]
            axes.axhline(float(curve.positive.mean()), color=colour, linestyle="--", linewidth=1)
            precision, recall, _ = precision_recall_curve(curve.positive, curve.scores)
            text = _make_label(curve, "AP", curve.ap)
            axes.plot(recall, precision, color=colour, label=text, **ONE_OF_SEVERAL)
        _set_axes(axes, "found (recall)", "right among those named (precision)")
        add_legend(drawing)
        return make_figure(drawing, "Precision and recall", finding, reading)


def name_rest(count: int) -> str:
    """Says that a sentence does not name all classes."""
    return f" and {count - MOST_TOLD} more" if count > MOST_TOLD else ""


def _list_values(metric: str, values: Sequence[tuple[str, float]]) -> str:
    each = [f"{value:.3f} for “{shorten_name(name)}”" for name, value in values[:MOST_TOLD]]
    return f"{metric} {', '.join(each)}{name_rest(len(values))}."


def _make_label(curve: Curve, metric: str, value: float) -> str:
    """A curve's text in the legend."""
    # the number first: matplotlib leaves names out of a legend that begin with an underscore
    return f"{metric} {value:.3f}: {shorten_name(curve.name)}"


def _set_axes(axes: Any, below: str, beside: str) -> None:
    axes.set(xlabel=below, ylabel=beside, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
