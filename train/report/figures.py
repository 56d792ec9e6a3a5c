"""The figures of a report: scikit-learn computes the curves, matplotlib draws them."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from samcache.cache.text import count_nouns
from samcache.train.report.checks.finding import format_percent
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.svg import (
    FAINT,
    INK,
    SERIES,
    Figure,
    add_legend,
    make_figure,
    open_canvas,
    shorten_name,
)
from samcache.train.report.words import name_seeds
from samcache.train.scores.bootstrap import Summary
from samcache.train.scores.metrics import CALIBRATION_BINS, Floats, Ints

_MOST_CURVES = len(SERIES)  # classes or runs drawn in one figure
_MOST_CELLS, _MOST_NAMES = 10, 30  # classes of a confusion matrix with numbers, and with names
_MOST_COUNTED = 4  # classes of a confusion matrix with images too
_MOST_PAIRS = 12  # of confused classes
_MOST_TOLD = 4  # classes named in a sentence
_LETTERS_BELOW = 20  # of all class names, beside one another below a figure
_ONE_OF_SEVERAL: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.85}
_WITH_BARS: dict[str, Any] = {"marker": "o", "markersize": 4, "capsize": 3, "elinewidth": 1}

_READING = {
    "roc": "The curve shows every threshold: the share of a class that is found, and the share of "
    "the other images that is taken for the class. A curve through the upper left corner is "
    "perfect. The dashed line is guessing.",
    "precision": "The curve shows every threshold: the share of a class that is found, and the "
    "share of the images named as the class that is right. The dashed line is guessing: a class's "
    "share of the test images.",
    "confusion": "Each row is a true class. Each cell is the share of the row's test images that "
    "got the column's class.",
    "pairs": "The true class, then the class that its test images got. The figure shows the pairs "
    "with the most test images.",
    "calibration": "The dashed line is perfect calibration: of the answers with a probability of "
    "80 %, 80 % are right. Below the line, the probabilities are too high. The lower part counts "
    "the answers: where they are few, the line is uncertain.",
    "data": "Each point is trained on a part of the training images. Bars are 95 % intervals. "
    "Where a line still rises at its end, more images may help.",
    "learning": "One line for each training. The loss is cross-entropy. If the validation loss "
    "rises while the training loss falls, the training overfits.",
}
_CHOICE = {
    "best": " The dot marks the epoch with the best validation AUC, which was kept.",
    "last": " The dot marks the last epoch, which was kept.",
}


def draw_figures(facts: Facts) -> list[Figure]:
    """Every figure that the facts allow, in the page's order."""
    run = facts.run
    answers = draw_confusion(run) if len(run.classes) <= _MOST_NAMES else draw_confused_pairs(run)
    drawn = [draw_roc(run), draw_precision_recall(run), answers, draw_calibration(run)]
    if len(run.fractions) > 1:
        drawn.append(draw_data_efficiency(facts))
    return [*drawn, draw_learning_curves(run)]


def draw_roc(run: ReportedRun) -> Figure:
    """True positive against false positive rate, a line a class."""
    chosen = choose_curve_classes(run)
    with open_canvas() as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        for label in chosen:
            false, true, _ = roc_curve(run.labels == label, run.probabilities[:, label])
            text = _make_label(run, label, "auc", "AUC")
            axes.plot(false, true, color=_choose_colour(run, label), label=text, **_ONE_OF_SEVERAL)
        _set_axes(axes, "false alarms (1 − specificity)", "found (sensitivity)")
        add_legend(drawing)
        reading = _READING["roc"] + _describe_chosen(run)
        return make_figure(
            drawing, "ROC curve", _list_class_values(run, chosen, "auc", "AUC"), reading
        )


def draw_precision_recall(run: ReportedRun) -> Figure:
    """Precision against recall, a line a class, with the class's share as floor."""
    chosen = [0, 1] if len(run.classes) == 2 else choose_curve_classes(run)
    finding = _list_class_values(run, chosen, "ap", "Average precision")
    with open_canvas() as (drawing, axes):
        for label in chosen:
            colour = _choose_colour(run, label)
            share = float((run.labels == label).mean())
            axes.axhline(share, color=colour, linestyle="--", linewidth=1)
            scores = run.probabilities[:, label]
            precision, recall, _ = precision_recall_curve(run.labels == label, scores)
            text = _make_label(run, label, "ap", "AP")
            axes.plot(recall, precision, color=colour, label=text, **_ONE_OF_SEVERAL)
        _set_axes(axes, "found (recall)", "right among those named (precision)")
        add_legend(drawing)
        reading = _READING["precision"] + _describe_chosen(run)
        return make_figure(drawing, "Precision and recall", finding, reading)


def draw_confusion(run: ReportedRun) -> Figure:
    """What each class was taken for, in shares of the class and in images."""
    names = [shorten_name(name) for name in run.classes]
    matrix = confusion_matrix(run.labels, run.answers, labels=range(len(names)))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with open_canvas() as (drawing, axes):
        _tint(axes, shares)
        _name_cells(axes, names)
        axes.set(xlabel="taken for", ylabel="true class")
        if len(names) <= _MOST_CELLS:
            _write_cells(axes, shares, matrix)
        worst_first = sorted((shares[k, k], name) for k, name in enumerate(names))
        recalls = [
            f"{format_percent(share)} of “{name}”" for share, name in worst_first[:_MOST_TOLD]
        ]
        finding = f"Recognised: {', '.join(recalls)}{_name_rest(len(names))}."
        reading = _READING["confusion"]
        if len(names) <= _MOST_COUNTED:
            reading += " The number below the share counts these images."
        return make_figure(drawing, "Confusion matrix", finding, reading)


def draw_confused_pairs(run: ReportedRun) -> Figure:
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
        most = f"; most often {', '.join(listed[:_MOST_TOLD])}" if listed else ""
        finding = f"Confused: {count_nouns(len(pairs), 'pair')} of {count} classes{most}."
        return make_figure(drawing, "Confused classes", finding, _READING["pairs"])


def draw_calibration(run: ReportedRun) -> Figure:
    """Share of right answers against the probability given to them."""
    right, confidence = run.answers == run.labels, run.probabilities.max(axis=1)
    found, said = calibration_curve(right, confidence, n_bins=CALIBRATION_BINS)
    with open_canvas(nrows=2, height_ratios=(3, 1), sharex=True) as (drawing, (axes, below)):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        axes.plot(said, found, color=SERIES[0], marker="o", markersize=4)
        axes.set(ylabel="share that is right", ylim=(0, 1.02))
        below.hist(confidence, bins=CALIBRATION_BINS, range=(0, 1), color=SERIES[0], alpha=0.6)
        below.set(xlabel="probability given to the answer", ylabel="answers")
        below.set_xlim(1 / len(run.classes) - 0.02, 1.02)
        finding = (
            f"Mean probability of the answers {format_percent(confidence.mean(), 1)}; accuracy "
            f"{format_percent(right.mean(), 1)}; calibration error {run.metrics['ece'].mean:.3f}."
        )
        return make_figure(drawing, "Calibration", finding, _READING["calibration"])


def draw_data_efficiency(facts: Facts) -> Figure:
    """AUC over the seeds with its interval against the training samples, a line a run."""
    runs = facts.runs[:_MOST_CURVES]
    sizes = [scores.train_samples for scores in facts.run.fractions]
    with open_canvas() as (drawing, axes):
        for place, run in enumerate(runs):
            aucs = [scores.metrics["auc"] for scores in run.fractions]
            means = np.array([auc.mean for auc in aucs])
            beside = 1.03 ** (place - (len(runs) - 1) / 2)  # so that no bar hides another
            axes.errorbar(
                np.array(sizes) * beside,
                means,
                np.abs(np.transpose([_find_bounds(auc) for auc in aucs]) - means),
                color=SERIES[place],
                label=f"run {shorten_name(run.folder.name)}",
                **_WITH_BARS,
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel=f"AUC{name_seeds(facts.run, ', ')}")
        add_legend(drawing)
        first, last = facts.run.fractions[0].metrics["auc"], facts.run.scores.metrics["auc"]
        finding = (
            f"AUC {first.mean:.3f} with {sizes[0]:.0f} training images, {last.mean:.3f} with "
            f"{sizes[-1]:.0f}{name_seeds(facts.run, ' (', ')')}."
        )
        return make_figure(drawing, "Data efficiency", finding, _READING["data"])


def draw_learning_curves(run: ReportedRun) -> Figure:
    """Loss of training and validation, and validation AUC, over the epochs; a line a training."""
    epochs = run.epochs[run.epochs["fraction"] == run.scores.fraction]
    trainings = [lines for _, lines in epochs.groupby(["seed", "fold"], dropna=False)]
    kept = [member["kept_epoch"] for member in run.members]
    areas = [member["val_auc"] for member in run.members]
    with open_canvas(nrows=2, sharex=True) as (drawing, (losses, area)):
        for column, name, colour in (
            ("train_loss", "training", SERIES[0]),
            ("val_loss", "validation", SERIES[1]),
        ):
            for place, lines in enumerate(trainings):
                label = None if place else name
                losses.plot(
                    lines["epoch"], lines[column], color=colour, label=label, **_ONE_OF_SEVERAL
                )
        for lines in trainings:
            area.plot(lines["epoch"], lines["val_auc"], color=SERIES[1], **_ONE_OF_SEVERAL)
        area.plot(
            kept, areas, linestyle="", marker="o", markersize=5, color=INK, label="epoch kept"
        )
        losses.set(ylabel="loss")
        area.set(xlabel="epoch", ylabel="validation AUC")
        area.xaxis.get_major_locator().set_params(integer=True)
        add_legend(drawing)
        several = len(kept) > 1
        finding = (
            f"{count_nouns(len(kept), 'training')}. In the {'epochs' if several else 'epoch'} kept "
            f"({_write_span(kept, 'd')}), the validation AUC is {_write_span(areas, '.3f')}."
        )
        reading = _READING["learning"] + _CHOICE[run.config["keep"]]
        return make_figure(drawing, "Learning curves", finding, reading)


def choose_curve_classes(run: ReportedRun) -> list[int]:
    """The classes that get a curve: the second of two, else those with most test samples."""
    count = len(run.classes)
    if count == 2:
        return [1]
    sizes = np.bincount(run.labels, minlength=count)
    return sorted(np.argsort(-sizes, kind="stable")[:_MOST_CURVES].tolist())


def _choose_colour(run: ReportedRun, label: int) -> str:
    """A class's colour, the same in every figure."""
    few = len(run.classes) <= _MOST_CURVES
    return SERIES[label if few else choose_curve_classes(run).index(label)]


def _list_class_values(run: ReportedRun, labels: list[int], kind: str, name: str) -> str:
    named = labels[:_MOST_TOLD]
    values = [f"{_read_mean(run, kind, k):.3f} for “{shorten_name(run.classes[k])}”" for k in named]
    return f"{name} {', '.join(values)}{_name_rest(len(labels))}."


def _name_rest(count: int) -> str:
    """Says that a sentence does not name all classes."""
    return f" and {count - _MOST_TOLD} more" if count > _MOST_TOLD else ""


def _read_mean(run: ReportedRun, kind: str, label: int) -> float:
    return run.metrics[f"{kind}:{run.classes[label]}"].mean


def _make_label(run: ReportedRun, label: int, kind: str, name: str) -> str:
    """A curve's text in the legend."""
    # the number first: matplotlib leaves names out of a legend that begin with an underscore
    return f"{name} {_read_mean(run, kind, label):.3f}: {shorten_name(run.classes[label])}"


def _describe_chosen(run: ReportedRun) -> str:
    """Which of many classes have a curve."""
    if len(run.classes) <= _MOST_CURVES:
        return ""
    return f" Of {len(run.classes)} classes, the {_MOST_CURVES} with most test images."


def _set_axes(axes: Any, below: str, beside: str) -> None:
    axes.set(xlabel=below, ylabel=beside, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))


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


def _write_span(values: list[Any], form: str) -> str:
    """Such as "0.841 to 0.870", or one value where they are equal."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _find_bounds(summary: Summary) -> tuple[float, float]:
    interval = summary.interval
    return (summary.mean, summary.mean) if interval is None else (interval.low, interval.high)
