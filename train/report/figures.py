"""The figures of a report: those of the kind of answer, and those of every training."""

import textwrap
from typing import Any

import numpy as np

from samcache.cache.text import count_nouns
from samcache.train.report.drawings.curves import MOST_CURVES, ONE_OF_SEVERAL
from samcache.train.report.drawings.svg import (
    INK,
    SERIES,
    Figure,
    add_legend,
    make_figure,
    open_canvas,
    shorten_name,
)
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.report.phrases import name_seeds
from samcache.train.scores.format import name_selection
from samcache.train.scores.intervals import Summary

_WITH_BARS: dict[str, Any] = {"marker": "o", "markersize": 4, "capsize": 3, "elinewidth": 1}

_DATA = (
    "Each point is trained on a part of the training images. Bars are 95 % intervals. "
    "Where a line still rises at its end, more images may help."
)
_LEARNING = (
    "One line for each training. The loss is {loss}. If the validation loss "
    "rises while the training loss falls, the training overfits."
)
_CHOICE = {
    "best": " The dot marks the epoch with the best validation {metric}, which was kept.",
    "last": " The dot marks the last epoch, which was kept.",
}
_LETTERS_BESIDE = 18  # of a name beside half a figure
_LOSSES = {"corn": "CORN's", "huber": "Huber's", "squared": "the squared error"}


def draw_figures(facts: Facts) -> list[Figure]:
    """Every figure that the facts allow, in the page's order."""
    run = facts.run
    drawn = choose_report_kind(run).draw_answers(run)
    if len(run.fractions) > 1:
        drawn.append(draw_data_efficiency(facts))
    return [*drawn, draw_learning_curves(run)]


def draw_data_efficiency(facts: Facts) -> Figure:
    """The headline over the seeds with its interval against the training samples, a line a run."""
    runs, kind = facts.runs[:MOST_CURVES], choose_report_kind(facts.run)
    metric, title = kind.headline, kind.headline_title
    sizes = [scores.train_samples for scores in facts.run.fractions]
    with open_canvas() as (drawing, axes):
        for place, run in enumerate(runs):
            values = [scores.metrics[metric] for scores in run.fractions]
            means = np.array([value.mean for value in values])
            beside = 1.03 ** (place - (len(runs) - 1) / 2)  # so that no bar hides another
            axes.errorbar(
                np.array(sizes) * beside,
                means,
                np.abs(np.transpose([_find_bounds(value) for value in values]) - means),
                color=SERIES[place],
                label=f"run {shorten_name(run.folder.name)}",
                **_WITH_BARS,
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel=f"{title}{name_seeds(facts.run, ', ')}")
        add_legend(drawing)
        first, last = (
            scores.metrics[metric] for scores in (facts.run.fractions[0], facts.run.scores)
        )
        finding = (
            f"{title[0].upper()}{title[1:]} {first.mean:.3f} with {sizes[0]:.0f} training images, "
            f"{last.mean:.3f} with {sizes[-1]:.0f}{name_seeds(facts.run, ' (', ')')}."
        )
        reading = _DATA.replace("rises", "falls") if facts.run.target.lower_is_better else _DATA
        return make_figure(drawing, "Data efficiency", finding, reading)


def draw_learning_curves(run: ReportedRun) -> Figure:
    """Losses, and the metric of validation that chose, over the epochs; a line a training."""
    selection, title = f"val_{run.target.selection}", name_selection(run.target.selection)
    epochs = run.epochs[run.epochs["fraction"] == run.scores.fraction]
    trainings = [lines for _, lines in epochs.groupby(["seed", "fold"], dropna=False)]
    kept = [member["kept_epoch"] for member in run.members]
    areas = [member[selection] for member in run.members]
    with open_canvas(nrows=2, sharex=True) as (drawing, (losses, area)):
        for column, name, colour in (
            ("train_loss", "training", SERIES[0]),
            ("val_loss", "validation", SERIES[1]),
        ):
            for place, lines in enumerate(trainings):
                label = None if place else name
                losses.plot(
                    lines["epoch"], lines[column], color=colour, label=label, **ONE_OF_SEVERAL
                )
        for lines in trainings:
            area.plot(lines["epoch"], lines[selection], color=SERIES[1], **ONE_OF_SEVERAL)
        area.plot(
            kept, areas, linestyle="", marker="o", markersize=5, color=INK, label="epoch kept"
        )
        losses.set(ylabel="loss")
        area.set(xlabel="epoch", ylabel=textwrap.fill(f"validation {title}", _LETTERS_BESIDE))
        area.xaxis.get_major_locator().set_params(integer=True)
        add_legend(drawing)
        several = len(kept) > 1
        finding = (
            f"{count_nouns(len(kept), 'training')}. In the {'epochs' if several else 'epoch'} kept "
            f"({_write_span(kept, 'd')}), the validation {title} is {_write_span(areas, '.3f')}."
        )
        asked = run.config.get("task", {}).get("loss") or run.target.losses[0]
        loss = _LOSSES.get(asked, "cross-entropy")
        reading = _LEARNING.format(loss=loss) + _CHOICE[run.config["keep"]].format(metric=title)
        return make_figure(drawing, "Learning curves", finding, reading)


def _write_span(values: list[Any], form: str) -> str:
    """Such as "0.841 to 0.870", or one value where they are equal."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _find_bounds(summary: Summary) -> tuple[float, float]:
    interval = summary.interval
    return (summary.mean, summary.mean) if interval is None else (interval.low, interval.high)
