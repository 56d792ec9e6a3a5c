"""The page's figures: differences as a forest plot, and scores over shares of the training data."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from experiment import CURVES, PAIRS, Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from verdicts import of_pair

DIFFERENCES, FRACTIONS = "experiment-differences.svg", "experiment-fractions.svg"
METRICS = {"auc": "AUC", "accuracy": "accuracy"}
TITLES = {"none": "no attention", "slca": "SLCA"}
COLOURS = {"none": "#8a5a00", "slca": "#1f5fa8"}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "samcache",  # the same figures make the same file
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_figures(
    scores: pd.DataFrame, differences: pd.DataFrame, datasets: tuple[Dataset, ...], folder: Path
) -> None:
    """Write the figures that the tables allow."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        if (differences["fraction"] == 1).any():
            _save(forest(differences, datasets), folder / DIFFERENCES)
        if (differences["fraction"] < 1).any():  # of two arms, so both are there
            _save(curves(scores, datasets), folder / FRACTIONS)


def forest(differences: pd.DataFrame, datasets: tuple[Dataset, ...]) -> Figure:
    """Pairs of arms: a line a difference, grouped by data set, a panel a metric."""
    shown = [
        (dataset, pair)
        for dataset in datasets
        for pair in PAIRS
        if len(of_pair(differences, dataset.name, *pair))
    ]
    figure = Figure((8.2, 1.3 + 0.3 * len(shown)), layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for axes, (metric, title) in zip(panels, METRICS.items(), strict=True):
        axes.axvline(0, color="0.5", linewidth=1)
        for place, (dataset, pair) in enumerate(shown):
            _whisker(axes, place, of_pair(differences, dataset.name, *pair).loc[metric])
            if place and shown[place - 1][0] != dataset:
                axes.axhline(place - 0.5, color="0.85", linewidth=0.8)
        axes.set_xlabel(f"difference in {title}")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    labels = [f"{dataset.title}: {arm} minus {minus}" for dataset, (arm, minus) in shown]
    panels[0].set_yticks(range(len(shown)), labels)
    panels[0].set_ylim(len(shown) - 0.5, -0.5)  # the first on top
    figure.suptitle("Differences of arms, 95 % intervals", fontsize=11)
    return figure


def _whisker(axes: Axes, place: int, row: pd.Series) -> None:
    """A difference and its interval; filled where the interval excludes zero."""
    decided = row["low"] > 0 or row["high"] < 0
    colour = COLOURS["slca"] if row["difference"] > 0 else COLOURS["none"]
    axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.6)
    fill = colour if decided else "white"
    axes.plot(row["difference"], place, "o", color=colour, markerfacecolor=fill, markersize=6)


def curves(scores: pd.DataFrame, datasets: tuple[Dataset, ...]) -> Figure:
    """AUC over the share of training samples, a panel a data set, with 95 % intervals as bands."""
    auc = scores[(scores["metric"] == "auc") & scores["arm"].isin(CURVES)]
    part = auc[auc["fraction"] < 1].groupby("dataset")["arm"].nunique()
    shown = [dataset for dataset in datasets if part.get(dataset.name, 0) == len(CURVES)]
    size = 0.6 + 2.8 * len(shown), 3.0
    figure = Figure(size, layout="constrained", facecolor="white")
    for axes, dataset in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for arm in CURVES:
            own = auc[(auc["dataset"] == dataset.name) & (auc["arm"] == arm)]
            own = own.sort_values("fraction")
            place, colour = own["fraction"], COLOURS[arm]
            axes.fill_between(place, own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
            axes.plot(place, own["mean"], "o-", color=colour, markersize=4, label=TITLES[arm])
        axes.set_xscale("log")
        axes.set_xticks(sorted(set(auc["fraction"])))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(dataset.title, fontsize=11)
        axes.set_xlabel("of the training samples")
    figure.axes[0].set_ylabel("test AUC")
    figure.axes[0].legend(frameon=False, loc="lower right")
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
