"""The figures of a report: scikit-learn computes the curves, matplotlib draws them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from samcache.train.bootstrap import Summary
from samcache.train.metrics import CALIBRATION_BINS, Floats
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.svg import FAINT, INK, SERIES, Figure, canvas, figure, shown

_MOST_CURVES = len(SERIES)  # classes or runs drawn in one figure
_MOST_CELLS, _MOST_NAMES = 10, 30  # classes of a confusion matrix with numbers, and with names
_MOST_PAIRS = 12  # of confused classes
_MOST_TOLD = 4  # classes named in a sentence
_LETTERS_BELOW = 20  # of all class names, beside one another below a figure
_ONE_OF_SEVERAL: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.85}
_WITH_BARS: dict[str, Any] = {"marker": "o", "markersize": 4, "capsize": 3, "elinewidth": 1}

_READING = {
    "roc": "Every threshold at once: how many of a class are found, against how many of the others "
    "are taken for it. The upper left corner is perfect, the dashed line is guessing.",
    "precision": "Of the images named as a class, how many are of it, as more and more of the "
    "class are found. Guessing reaches a class's share of the test images:"
    " the dashed line.",
    "confusion": "Each row is a true class: the share of its test images that was taken for each "
    "class, and how many images that is (mean over seeds).",
    "pairs": "The true class, then the class that its test images were taken for: the pairs with "
    "the most such images.",
    "calibration": "When the classifier says 80 %, is it right in 80 % of such cases? On the "
    "dashed line it is; below it, it promises too much. Bars count answers: few make a jumpy line.",
    "data": "How good the classifier is when it is given a part of the training images. Bars are "
    "95 % intervals. Where a line still rises to the right, more data promise more.",
    "learning": "One line a training; the loss is cross-entropy. Where it rises on validation "
    "while it falls in training, the classifier learns its images by heart. The dot is the epoch "
    "that was kept; test images have no part in that.",
}


def figures(facts: Facts) -> list[Figure]:
    """Every figure that the facts allow, in the page's order."""
    run = facts.run
    answers = confusion(run) if len(run.classes) <= _MOST_NAMES else confused_pairs(run)
    drawn = [roc(run), precision_recall(run), answers, calibration(run)]
    if len(run.fractions) > 1:
        drawn.append(data_efficiency(facts))
    return [*drawn, learning_curves(run)]


def roc(run: ReportedRun) -> Figure:
    """True positive against false positive rate, a line a seed and class."""
    chosen = curve_classes(run)
    with canvas() as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        for label in chosen:
            for line, scores in _labelled(run, label, "auc", "AUC"):
                false, true, _ = roc_curve(run.labels == label, scores)
                colour = _colour(run, label)
                axes.plot(false, true, color=colour, label=line, **_ONE_OF_SEVERAL)
        _square(axes, "false alarms (1 − specificity)", "found (sensitivity)", "lower right")
        reading = _READING["roc"] + _lines(run)
        return figure(drawing, "ROC curve", _class_list(run, chosen, "auc", "AUC"), reading)


def precision_recall(run: ReportedRun) -> Figure:
    """Precision against recall, a line a seed and class, with the class's share as floor."""
    chosen = [0, 1] if len(run.classes) == 2 else curve_classes(run)
    finding = _class_list(run, chosen, "ap", "Average precision")
    with canvas() as (drawing, axes):
        for label in chosen:
            colour = _colour(run, label)
            share = float((run.labels == label).mean())
            axes.axhline(share, color=colour, linestyle="--", linewidth=1)
            for line, scores in _labelled(run, label, "ap", "AP"):
                precision, recall, _ = precision_recall_curve(run.labels == label, scores)
                axes.plot(recall, precision, color=colour, label=line, **_ONE_OF_SEVERAL)
        _square(axes, "found (recall)", "right among those named (precision)", "lower left")
        reading = _READING["precision"] + _lines(run)
        return figure(drawing, "Precision and recall", finding, reading)


def confusion(run: ReportedRun) -> Figure:
    """What each class was taken for, in shares of the class, over all seeds."""
    names = [shown(name) for name in run.classes]
    predicted, places = run.probabilities.argmax(axis=2), range(len(names))
    matrix = np.sum([confusion_matrix(run.labels, row, labels=places) for row in predicted], axis=0)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with canvas() as (drawing, axes):
        _tint(axes, shares)
        _name_cells(axes, names)
        axes.set(xlabel="taken for", ylabel="true class")
        if len(names) <= _MOST_CELLS:
            _write_cells(axes, shares, matrix / len(run.seeds), len(run.seeds))
        worst_first = sorted((shares[k, k], name) for k, name in enumerate(names))
        recalls = [f"{share:.0%} of “{name}”" for share, name in worst_first[:_MOST_TOLD]]
        finding = f"Recognised: {', '.join(recalls)}{_rest(len(names))}."
        return figure(drawing, "Confusion matrix", finding, _READING["confusion"])


def confused_pairs(run: ReportedRun) -> Figure:
    """Of many classes the pairs that are confused most often, over all seeds."""
    count, predicted = len(run.classes), run.probabilities.argmax(axis=2)
    pairs, found = np.unique(run.labels * count + predicted, return_counts=True)
    wrong = pairs // count != pairs % count
    pairs, found = pairs[wrong], found[wrong] / len(run.seeds)
    first = np.argsort(-found, kind="stable")[:_MOST_PAIRS]
    names = [" → ".join(shown(run.classes[k]) for k in divmod(int(p), count)) for p in pairs[first]]
    with canvas() as (drawing, axes):
        axes.barh(range(len(names)), found[first], color=SERIES[0])
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.invert_yaxis()
        axes.set(xlabel="test images (mean over seeds)")
        listed = [f"“{name}” {size:g}" for name, size in zip(names, found[first], strict=True)]
        most = f"; most often {', '.join(listed[:_MOST_TOLD])}" if listed else ""
        finding = f"{len(pairs)} pairs of {count} classes are confused{most}."
        return figure(drawing, "Confused classes", finding, _READING["pairs"])


def calibration(run: ReportedRun) -> Figure:
    """Share of right answers against the probability given to them, over all seeds."""
    right = (run.probabilities.argmax(axis=2) == run.labels).ravel()
    confidence = run.probabilities.max(axis=2).ravel()
    found, said = calibration_curve(right, confidence, n_bins=CALIBRATION_BINS)
    with canvas(nrows=2, height_ratios=(3, 1), sharex=True) as (drawing, (axes, below)):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.2)
        axes.plot(said, found, color=SERIES[0], marker="o", markersize=4)
        axes.set(ylabel="share that is right", ylim=(0, 1.02))
        below.hist(confidence, bins=CALIBRATION_BINS, range=(0, 1), color=SERIES[0], alpha=0.6)
        below.set(xlabel="probability given to the answer", ylabel="answers")
        below.set_xlim(1 / len(run.classes) - 0.02, 1.02)
        finding = (
            f"Answers are given a probability of {confidence.mean():.2f} on average, and "
            f"{right.mean():.2f} of them are right; calibration error "
            f"{run.scores.metrics['ece'].mean:.3f}."
        )
        return figure(drawing, "Calibration", finding, _READING["calibration"])


def data_efficiency(facts: Facts) -> Figure:
    """AUC with its interval against how many samples were trained on, a line a run."""
    runs = facts.runs[:_MOST_CURVES]
    sizes = [scores.train_samples for scores in facts.run.fractions]
    with canvas() as (drawing, axes):
        for place, run in enumerate(runs):
            aucs = [scores.metrics["auc"] for scores in run.fractions]
            means = np.array([auc.mean for auc in aucs])
            beside = 1.03 ** (place - (len(runs) - 1) / 2)  # so that no bar hides another
            axes.errorbar(
                np.array(sizes) * beside,
                means,
                np.abs(np.transpose([_bounds(auc) for auc in aucs]) - means),
                color=SERIES[place],
                label=f"run {shown(run.folder.name)}",
                **_WITH_BARS,
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel="AUC on test")
        axes.legend(loc="lower right")
        first, last = facts.run.fractions[0].metrics["auc"], facts.run.scores.metrics["auc"]
        finding = (
            f"AUC {first.mean:.3f} with {sizes[0]:.0f} training images, {last.mean:.3f} with "
            f"{sizes[-1]:.0f}."
        )
        return figure(drawing, "Data efficiency", finding, _READING["data"])


def learning_curves(run: ReportedRun) -> Figure:
    """Loss of training and validation, and validation AUC, over the epochs; a line a training."""
    epochs = run.epochs[run.epochs["fraction"] == run.scores.fraction]
    trainings = [lines for _, lines in epochs.groupby(["seed", "fold"], dropna=False)]
    kept = [member["kept_epoch"] for member in run.members]
    areas = [member["val_auc"] for member in run.members]
    with canvas(nrows=2, sharex=True) as (drawing, (losses, area)):
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
        area.plot(kept, areas, linestyle="", marker="o", markersize=5, color=INK, label="kept")
        losses.set(ylabel="loss")
        area.set(xlabel="epoch", ylabel="validation AUC")
        area.xaxis.get_major_locator().set_params(integer=True)
        losses.legend(loc="upper right")
        area.legend(loc="lower right")
        finding = (
            f"{len(kept)} trainings. Validation AUC {_span(areas, '.3f')} in the epoch kept, "
            f"{_span(kept, 'd')}."
        )
        return figure(drawing, "Learning curves", finding, _READING["learning"])


def curve_classes(run: ReportedRun) -> list[int]:
    """The classes that get a curve: the second of two, else those with most test samples."""
    count = len(run.classes)
    if count == 2:
        return [1]
    sizes = np.bincount(run.labels, minlength=count)
    return sorted(np.argsort(-sizes, kind="stable")[:_MOST_CURVES].tolist())


def _colour(run: ReportedRun, label: int) -> str:
    """A class's colour, the same in every figure."""
    few = len(run.classes) <= _MOST_CURVES
    return SERIES[label if few else curve_classes(run).index(label)]


def _class_list(run: ReportedRun, labels: list[int], kind: str, name: str) -> str:
    named = labels[:_MOST_TOLD]
    values = [f"{_mean(run, kind, k):.3f} for “{shown(run.classes[k])}”" for k in named]
    return f"{name} {', '.join(values)}{_rest(len(labels))}."


def _rest(count: int) -> str:
    """Says that not all classes were told."""
    return f" and {count - _MOST_TOLD} more" if count > _MOST_TOLD else ""


def _mean(run: ReportedRun, kind: str, label: int) -> float:
    return run.scores.metrics[f"{kind}:{run.classes[label]}"].mean


def _labelled(
    run: ReportedRun, label: int, kind: str, name: str
) -> Iterator[tuple[str | None, Floats]]:
    """Each seed's probabilities of a class, (n,), the first with a legend's text."""
    # the figure first: matplotlib leaves names out of a legend that begin with an underscore
    text = f"{name} {_mean(run, kind, label):.3f}: {shown(run.classes[label])}"
    for seed, scores in enumerate(run.probabilities[:, :, label]):
        yield (None if seed else text), scores


def _lines(run: ReportedRun) -> str:
    """What a figure's lines are, where it is not plain."""
    text = f" One line for each of {len(run.seeds)} seeds." if len(run.seeds) > 1 else ""
    if len(run.classes) > _MOST_CURVES:
        text += f" Of {len(run.classes)} classes, the {_MOST_CURVES} with most test images."
    return text


def _square(axes: Any, below: str, beside: str, corner: str) -> None:
    axes.set(xlabel=below, ylabel=beside, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.legend(loc=corner)


def _tint(axes: Any, shares: Floats) -> None:
    """Cells in one colour of growing strength, never so strong that text cannot be read on it."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

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


def _write_cells(axes: Any, shares: Floats, counts: Floats, seeds: int) -> None:
    for (true, taken), share in np.ndenumerate(shares):
        count = f"\n{counts[true, taken]:.{1 if seeds > 1 else 0}f}" if len(shares) <= 4 else ""
        text, size = f"{share:.0%}{count}", 10 if len(shares) <= 6 else 7
        axes.text(taken + 0.5, true + 0.5, text, ha="center", va="center", fontsize=size)


def _span(values: list[Any], form: str) -> str:
    """Such as "0.841 to 0.870", or one value where they are equal."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _bounds(summary: Summary) -> tuple[float, float]:
    interval = summary.interval
    return (summary.mean, summary.mean) if interval is None else (interval.low, interval.high)
