"""What a report says of classes."""

import numpy as np

from samcache.train.report.checks.finding import format_percent
from samcache.train.report.drawings.calibration import draw_calibration
from samcache.train.report.drawings.confusion import draw_taken_for
from samcache.train.report.drawings.curves import (
    MOST_CURVES,
    Curve,
    choose_largest,
    draw_precision_recall,
    draw_roc,
)
from samcache.train.report.drawings.svg import Figure
from samcache.train.report.facts import ReportedRun
from samcache.train.report.kinds.base import describe_tested
from samcache.train.report.kinds.graded import Graded
from samcache.train.report.phrases import write_interval

_MOST_CLASSES = 5  # named in one sentence

ROC = (
    "The curve shows every threshold: the share of a class that is found, and the share of the "
    "other images that is taken for the class. A curve through the upper left corner is perfect. "
    "The dashed line is guessing."
)
PRECISION = (
    "The curve shows every threshold: the share of a class that is found, and the share of the "
    "images named as the class that is right. The dashed line is guessing: a class's share of the "
    "test images."
)
CALIBRATION = (
    "The dashed line is perfect calibration: of the answers with a probability of 80 %, 80 % are "
    "right. Below the line, the probabilities are too high. The lower part counts the answers: "
    "where they are few, the line is uncertain."
)
DEFINITIONS = {
    "accuracy": "Share of the test images that get their right class.",
    "balanced_accuracy": "Share of a class that is recognised, mean over the classes: a rare class "
    "counts as much as a common class.",
    "auc": "How often an image of a class gets a higher score for that class than an image of "
    "another class; mean over the classes. 0.5 is guessing, 1 is perfect.",
    "f1": "Mean over the classes of F1, the balance between the share of a class that is found and "
    "the share of the images named as the class that is right.",
    "kappa": "Agreement on the grade beyond chance; an error of several grades weighs more. 1 is "
    "perfect, 0 is chance.",
    "ece": "Calibration: how far the stated probabilities are from the share that is right. 0 is "
    "perfect; lower is better.",
    "auc:": "AUC of this class against all other classes.",
    "ap:": "Average precision over all thresholds: the share of the images named as this class "
    "that is right. Guessing reaches the class's share of the test images.",
}


class ClassesReport(Graded):
    """One class of several."""

    compared = ("auc", "accuracy")
    tiles = ("auc", "accuracy", "balanced_accuracy", "kappa", "ece")
    definitions = DEFINITIONS
    examples = "For each class, the answers with the highest probability, right and wrong."

    def write_result(self, run: ReportedRun) -> list[str]:
        return [
            _describe_ranking(run),
            f"{describe_right(run)} {describe_recognised(run, 'class')}",
        ]

    def draw_answers(self, run: ReportedRun) -> list[Figure]:
        two = len(run.classes) == 2
        sizes = np.bincount(run.labels, minlength=len(run.classes))
        largest = choose_largest(sizes)
        few = len(run.classes) <= MOST_CURVES
        curves = {
            k: Curve(
                name=run.classes[k],
                positive=run.labels == k,
                scores=run.probabilities[:, k],
                place=k if few else place,
                auc=run.metrics[f"auc:{run.classes[k]}"].mean,
                ap=run.metrics[f"ap:{run.classes[k]}"].mean,
            )
            for place, k in enumerate(largest)
        }
        many = "" if few else f" Of {len(sizes)} classes, the {MOST_CURVES} with most test images."
        ranked = [curves[1]] if two else [*curves.values()]
        right, confidence = run.answers == run.labels, run.probabilities.max(axis=1)
        finding = (
            f"Mean probability of the answers {format_percent(confidence.mean(), 1)}; accuracy "
            f"{format_percent(right.mean(), 1)}; calibration error {run.metrics['ece'].mean:.3f}."
        )
        return [
            draw_roc(ranked, ROC + many),
            draw_precision_recall([*curves.values()], PRECISION + many),
            draw_taken_for(run),
            draw_calibration(right, confidence, len(run.classes), finding, CALIBRATION),
        ]


def _describe_ranking(run: ReportedRun) -> str:
    auc, classes = run.metrics["auc"], run.classes
    tested = describe_tested(run)
    value = f"{auc.mean:.3f}{write_interval(auc)}"
    if len(classes) != 2:
        return f"{tested} the mean AUC over {len(classes)} classes is {value}."
    return (
        f"{tested} the AUC is {value}: of an image of “{classes[1]}” and an image of “{classes[0]}”"
        f", the classifier tells which is which in {100 * auc.mean:.0f} of 100 pairs."
    )


def describe_right(run: ReportedRun, noun: str = "class") -> str:
    """The share of right answers, and of the best constant answer."""
    accuracy = run.metrics["accuracy"]
    name, share = run.commonest
    return (
        f"The classifier gives the right {noun} to {format_percent(accuracy.mean, 1)}"
        f"{write_interval(accuracy, 100)}; always answering “{name}” is right for "
        f"{format_percent(share, 1)}."
    )


def describe_recognised(run: ReportedRun, noun: str) -> str:
    """The share of each class that is recognised, of many the worst."""
    right = run.answers == run.labels
    shares = [(float(right[run.labels == k].mean()), name) for k, name in enumerate(run.classes)]
    if len(shares) > _MOST_CLASSES:
        share, name = min(shares)
        return f"The least recognised {noun} is “{name}”, {format_percent(share)}."
    recalls = (f"{format_percent(share)} of “{name}”" for share, name in shares)
    return f"Recognised: {', '.join(recalls)}."
