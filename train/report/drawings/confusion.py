"""What each class or grade was taken for: a matrix, or of many classes the commonest pairs."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from sklearn.metrics import confusion_matrix

from samcache.cache.text import count_nouns
from samcache.train.report.checks.finding import format_percent
from samcache.train.report.drawings.curves import MOST_TOLD, name_rest
from samcache.train.report.drawings.svg import (
    FAINT,
    SERIES,
    Figure,
    make_figure,
    open_canvas,
    shorten_name,
)
from samcache.train.report.facts import ReportedRun
from samcache.train.scores.metrics import Floats, Ints

_MOST_CELLS, _MOST_NAMES = 10, 30  # classes of a confusion matrix with numbers, and with names
_MOST_COUNTED = 4  # classes of a confusion matrix with images too
_MOST_PAIRS = 12  # of confused classes
_LETTERS_BELOW = 20  # of all class names, beside one another below a figure

_PAIRS = (
    "The true class, then the class that its test images got. The figure shows the pairs "
    "with the most test images."
)


def draw_taken_for(run: ReportedRun, noun: str = "class") -> Figure:
    """A matrix, or of many classes the pairs that are confused most often."""
    many = len(run.classes) > _MOST_NAMES
    return _draw_confused_pairs(run) if many else _draw_confusion(run, noun)


def _draw_confusion(run: ReportedRun, noun: str) -> Figure:
    """What each class was taken for, in shares of the class and in images."""
    names = [shorten_name(name) for name in run.classes]
    matrix = confusion_matrix(run.labels, run.answers, labels=range(len(names)))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with open_canvas() as (drawing, axes):
        _tint(axes, shares)
        _name_cells(axes, names)
        axes.set(xlabel="taken for", ylabel=f"true {noun}")
        if len(names) <= _MOST_CELLS:
            _write_cells(axes, shares, matrix)
        worst_first = sorted((shares[k, k], name) for k, name in enumerate(names))
        recalls = [
            f"{format_percent(share)} of “{name}”" for share, name in worst_first[:MOST_TOLD]
        ]
        finding = f"Recognised: {', '.join(recalls)}{name_rest(len(names))}."
        reading = (
            f"Each row is a true {noun}. Each cell is the share of the row's test images that got "
            f"the column's {noun}."
        )
        if len(names) <= _MOST_COUNTED:
            reading += " The number below the share counts these images."
        return make_figure(drawing, "Confusion matrix", finding, reading)


def _draw_confused_pairs(run: ReportedRun) -> Figure:
    """Of many classes the pairs that are confused most often."""
    count = len(run.classes)
    pairs, found = np.unique(run.labels * count + run.answers, return_counts=True)
    wrong = pairs // count != pairs % count
    pairs, found = pairs[wrong], found[wrong]
    first = np.argsort(-found, kind="stable")[:_MOST_PAIRS]
    names = [
        " → ".join(shorten_name(run.classes[k]) for k in divmod(int(p), count))
        for p in pairs[first]
    ]
    with open_canvas() as (drawing, axes):
        axes.barh(range(len(names)), found[first], color=SERIES[0])
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.invert_yaxis()
        axes.set(xlabel="test images")
        listed = [f"“{name}” {size}" for name, size in zip(names, found[first], strict=True)]
        most = f"; most often {', '.join(listed[:MOST_TOLD])}" if listed else ""
        finding = f"Confused: {count_nouns(len(pairs), 'pair')} of {count} classes{most}."
        return make_figure(drawing, "Confused classes", finding, _PAIRS)


def _tint(axes: Any, shares: Floats) -> None:
    """Cells in one colour of growing strength, never so strong that text cannot be read on it."""
    ends = [(*to_rgba(SERIES[0])[:3], strength) for strength in (0.0, 0.55)]
    colours = LinearSegmentedColormap.from_list("tint", ends)
    axes.pcolormesh(shares, cmap=colours, vmin=0, vmax=1, edgecolors=FAINT, linewidth=0.6)
    axes.set(aspect="equal")
    axes.grid(visible=False)


def _name_cells(axes: Any, names: list[str]) -> None:
    middles = [place + 0.5 for place in range(len(names))]
    crowded = sum(map(len, names)) > _LETTERS_BELOW
    tilted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(middles, names, **tilted)
    axes.set_yticks(middles, names)
    axes.tick_params(length=0, labelsize=10 if len(names) <= _MOST_CELLS else 6)
    axes.invert_yaxis()


def _write_cells(axes: Any, shares: Floats, counts: Ints) -> None:
    for (true, taken), share in np.ndenumerate(shares):
        count = f"\n{counts[true, taken]}" if len(shares) <= _MOST_COUNTED else ""
        text, size = f"{format_percent(float(share))}{count}", 10 if len(shares) <= 6 else 7
        axes.text(taken + 0.5, true + 0.5, text, ha="center", va="center", fontsize=size)
