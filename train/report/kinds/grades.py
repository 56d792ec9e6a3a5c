"""What a report says of grades in their order."""

import numpy as np
from sklearn.metrics import roc_auc_score

from samcache.train.report.checks.finding import CAUTION, FINE, Finding, format_percent
from samcache.train.report.drawings.calibration import draw_calibration
from samcache.train.report.drawings.confusion import draw_taken_for
from samcache.train.report.drawings.curves import MOST_CURVES, Curve, draw_roc
from samcache.train.report.drawings.errors import draw_grade_errors
from samcache.train.report.drawings.svg import Figure
from samcache.train.report.facts import ReportedRun
from samcache.train.report.kinds.base import describe_tested
from samcache.train.report.kinds.classes import (
    CALIBRATION,
    DEFINITIONS,
    describe_recognised,
    describe_right,
)
from samcache.train.report.kinds.graded import Graded
from samcache.train.report.phrases import list_classes, write_interval

_ROC = (
    "Each curve asks one question: is the image of this grade or a higher grade? The curve shows "
    "every threshold: the share of such images that is found, and the share of the images of lower "
    "grades that is taken for them. The dashed line is guessing."
)


class GradesReport(Graded):
    """One grade of several, the lowest first."""

    compared = ("kappa", "mae")
    tiles = ("kappa", "mae", "accuracy", "ece")
    nouns = ("grade", "grades")
    positives = "Images of the rarest grade"
    purpose = "grading images"
    examples = "For each grade, the answers with the highest probability, right and wrong."
    definitions = DEFINITIONS | {
        "mae": "How many grades the answer is from the true grade, on average. 0 is perfect.",
        "accuracy": "Share of the test images that get their right grade.",
        "balanced_accuracy": "Share of a grade that is recognised, mean over the grades: a rare "
        "grade counts as much as a common grade.",
        "auc": "How often an image of a grade gets a higher score for that grade than an image of "
        "another grade; mean over the grades. 0.5 is guessing, 1 is perfect.",
        "f1": "Mean over the grades of F1, the balance between the share of a grade that is found "
        "and the share of the images named as the grade that is right.",
        "ece": "Calibration of the likeliest grade: how far its stated probability is from the "
        "share that is right. 0 is perfect; lower is better.",
        "auc:": "AUC of this grade against all other grades, whose order does not count here.",
        "ap:": "Average precision over all thresholds: the share of the images named as this "
        "grade that is right. Guessing reaches the grade's share of the test images.",
    }

    def name_metric(self, run: ReportedRun, metric: str) -> str:
        return super().name_metric(run, metric) + (" (grades)" if metric == "mae" else "")

    def describe_subject(self, run: ReportedRun) -> str:
        return list_classes(run.classes, " < ")

    def write_result(self, run: ReportedRun) -> list[str]:
        kappa, error = run.metrics["kappa"], run.metrics["mae"]
        near = float((np.abs(run.answers - run.labels) <= 1).mean())
        return [
            f"{describe_tested(run)} the quadratic kappa is {kappa.mean:.3f}"
            f"{write_interval(kappa)}: 1 is perfect agreement, 0 is chance. The answer is "
            f"{error.mean:.2f} grades from the true grade on average{write_interval(error)}, and "
            f"at most one grade from it for {format_percent(near, 1)}.",
            f"{describe_right(run, 'grade')} {describe_recognised(run, 'grade')}",
        ]

    def draw_answers(self, run: ReportedRun) -> list[Figure]:
        likeliest, confidence = run.probabilities.argmax(axis=1), run.probabilities.max(axis=1)
        right = likeliest == run.labels
        finding = (
            f"Mean probability of the likeliest grades {format_percent(confidence.mean(), 1)}; "
            f"share of them that is right {format_percent(right.mean(), 1)}; calibration error "
            f"{run.metrics['ece'].mean:.3f}."
        )
        return [
            draw_taken_for(run, "grade"),
            draw_grade_errors(run),
            draw_roc(_gather_curves(run), _ROC, "ROC curve of each grade or higher"),
            draw_calibration(right, confidence, len(run.classes), finding, CALIBRATION),
        ]

    def _check_better_than_guessing(self, run: ReportedRun) -> Finding:
        kappa = run.metrics["kappa"]
        if kappa.interval is not None and kappa.interval.low > 0:
            return Finding(FINE, "Agreement on the grade is above chance")
        text = (
            f"The quadratic kappa is {kappa.mean:.3f}{write_interval(kappa)}, and 0 is what chance "
            "reaches. This result does not show that the classifier tells grades from each other."
        )
        return Finding(CAUTION, "Agreement on the grade is not clearly above chance", text)


def _gather_curves(run: ReportedRun) -> list[Curve]:
    """A curve for each grade but the lowest: this grade or a higher grade; of many the lowest."""
    above = 1 - run.probabilities.cumsum(axis=1)
    return [
        Curve(
            name=f"{run.classes[k]} or higher",
            positive=run.labels >= k,
            scores=above[:, k - 1],
            place=k - 1,
            auc=float(roc_auc_score(run.labels >= k, above[:, k - 1])),
        )
        for k in range(1, len(run.classes))
    ][:MOST_CURVES]
