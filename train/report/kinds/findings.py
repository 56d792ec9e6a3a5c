"""What a report says of several findings at once, each present, absent or unknown."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd

from samcache.train.report.checks.finding import CAUTION, FINE, Finding, make_finding
from samcache.train.report.drawings.calibration import draw_reliability, measure_calibration
from samcache.train.report.drawings.curves import (
    MOST_CURVES,
    Curve,
    choose_largest,
    draw_precision_recall,
    draw_roc,
)
from samcache.train.report.drawings.svg import Figure
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.kinds.base import (
    Caption,
    NameTable,
    ReportKind,
    check_size,
    describe_tested,
)
from samcache.train.report.kinds.graded import FEW_TEST_SAMPLES, POOR_CALIBRATION
from samcache.train.report.phrases import list_classes, write_interval
from samcache.train.scores.format import MOST_CLASSES, format_interval
from samcache.train.scores.intervals import Summary
from samcache.train.scores.metrics import Bools, Floats

_WIDE_INTERVAL = 0.1  # of the AUC
_MOST_EXAMPLES = 5  # findings with examples
_MOST_TOLD = 5  # findings named in one sentence

_ROC = (
    "The curve shows every threshold: the share of the images with the finding that is found, and "
    "the share of the images without it that is called present. A curve through the upper left "
    "corner is perfect. The dashed line is guessing. Images whose label is unknown are left out."
)
_PRECISION = (
    "The curve shows every threshold: the share of the images with the finding that is found, and "
    "the share of the images called present that have it. The dashed lines are guessing: the share "
    "of the images that have the finding."
)
_CALIBRATION = (
    "The dashed line is perfect calibration: of the images with a probability of 80 %, 80 % have "
    "the finding. Below the line, the probabilities are too high. Where a finding is rare, few "
    "images have a high probability, and the line is uncertain there."
)


class FindingsReport(ReportKind):
    """Several findings, each with a probability of its own."""

    compared = ("auc", "accuracy")
    tiles = ("auc", "ap", "accuracy", "f1")
    nouns = ("finding", "findings")
    positives = "Images of the rarest finding"
    purpose = "finding several findings in images"
    contradictions = False  # an unknown finding contradicts nothing
    examples = (
        "For the findings with the most errors, the answers with the highest probability: false "
        "positives, false negatives, and right answers."
    )
    definitions: ClassVar = {
        "accuracy": "Share of the known labels that the answer meets with a threshold of 50 %, "
        "mean over the findings. Calling a rare finding absent everywhere scores high.",
        "auc": "How often an image with a finding gets a higher probability for it than an image "
        "without it; mean over the findings. 0.5 is guessing, 1 is perfect.",
        "ap": "Average precision over all thresholds, mean over the findings. Guessing reaches the "
        "prevalence.",
        "f1": "Mean over the findings of F1 at a threshold of 50 %, the balance between the share "
        "of a finding that is found and the share of the images called present that have it.",
    }

    def describe_subject(self, run: ReportedRun) -> str:
        return list_classes(run.classes)

    def describe_data(self, run: ReportedRun) -> str:
        return f"findings {list_classes(run.classes, ', ', '“', '”')}"

    def write_result(self, run: ReportedRun) -> list[str]:
        auc = run.metrics["auc"]
        known = int(np.isfinite(run.labels).sum())
        areas = sorted((curve.auc, curve.name) for curve in _gather_curves(run))
        named = ", ".join(f"{area:.3f} for “{name}”" for area, name in areas[:_MOST_TOLD])
        first = "" if len(areas) <= _MOST_TOLD else "the lowest are "
        return [
            f"{describe_tested(run)} the mean AUC over {len(areas)} findings is {auc.mean:.3f}"
            f"{write_interval(auc)}: 0.5 is guessing, 1 is perfect. By finding, {first}{named}.",
            f"{known} of {run.labels.size} labels are known; the other labels count in no number.",
        ]

    def draw_answers(self, run: ReportedRun) -> list[Figure]:
        defined = _gather_curves(run)
        sizes = np.array([curve.positive.sum() for curve in defined])
        chosen = [defined[k] for k in choose_largest(sizes)]
        many = ""
        if len(defined) > MOST_CURVES:
            many = f" Of {len(defined)} findings, the {MOST_CURVES} with most images."
        errors = [measure_calibration(curve.positive, curve.scores) for curve in chosen]
        return [
            draw_roc(chosen, _ROC + many),
            draw_precision_recall(chosen, _PRECISION + many),
            draw_reliability(chosen, errors, _CALIBRATION + many),
        ]

    def check_test(self, facts: Facts) -> list[Finding]:
        run = facts.run
        interval = run.metrics["auc"].interval
        width = 0.0 if interval is None else interval.high - interval.low
        text = (
            f"The 95 % interval of the mean AUC is {width:.3f} wide. This test set cannot show "
            "small differences."
        )
        return [
            check_size(run, "auc", _WIDE_INTERVAL, text),
            _check_rare(run),
            _check_better_than_guessing(run),
        ]

    def check_outputs(self, facts: Facts) -> list[Finding]:
        poor = [
            f"{name}: {error:.3f}"
            for name, error in (
                (name, measure_calibration(present, chances))
                for name, present, chances in _list_known(facts.run)
            )
            if error > POOR_CALIBRATION
        ]
        if not poor:
            title = f"Calibration error of every finding is {POOR_CALIBRATION} or less"
            return [Finding(FINE, title)]
        text = "Do not read the probabilities of these findings as risks."
        return [make_finding(CAUTION, "Findings with a high calibration error", text, poor)]

    def count_tested(self, run: ReportedRun) -> list[tuple[str, int]]:
        present = (run.labels == 1).sum(axis=0)
        return list(zip(run.classes, map(int, present), strict=True))

    def list_names(self, run: ReportedRun) -> NameTable:
        heads = ("Finding", "With", "Without", "Unknown", "Prevalence", "AUC", "AP")
        total, rows = len(run.labels), []
        for name, present, _ in _list_known(run):
            counts = int(present.sum()), int((~present).sum()), total - len(present)
            values = [_write_own(run, kind, name) for kind in ("prevalence", "auc", "ap")]
            rows.append((name, *map(str, counts), *values))
        order = sorted(rows, key=lambda row: row[5])  # the lowest AUC first
        kept = rows if len(rows) <= MOST_CLASSES else order[:MOST_CLASSES]
        return NameTable(heads, kept)

    def list_example_groups(self, run: ReportedRun) -> list[tuple[int, str]]:
        groups = []
        for place, (name, present, chances) in enumerate(_list_known(run)):
            missed = int((present & (chances < 0.5)).sum())
            false = int((~present & (chances >= 0.5)).sum())
            heading = f"{name}: {missed} missed, {false} called present without it"
            groups.append((missed + false, place, heading))
        most = sorted(groups, key=lambda group: (-group[0], group[1]))[:_MOST_EXAMPLES]
        return [(place, heading) for _, place, heading in most]

    def rank_examples(self, run: ReportedRun) -> pd.DataFrame:
        """Of each finding false positives and false negatives in turn, then right answers."""
        tables = []
        for place in range(len(run.classes)):
            labels, chances = run.labels[:, place], run.probabilities[:, place]
            rows = np.flatnonzero(np.isfinite(labels))
            table = pd.DataFrame({"sample": rows, "group": place})
            called, present = chances[rows] >= 0.5, labels[rows] == 1
            table["right"] = called == present
            table["sure"] = np.abs(chances[rows] - 0.5)
            table["called"] = called
            table["id"] = run.samples["id"].to_numpy()[rows]
            tables.append(table)
        found = pd.concat(tables, ignore_index=True)
        found = found.sort_values(["sure", "id"], ascending=[False, True])
        found["turn"] = found.groupby(["group", "right", "called"]).cumcount()
        return found.sort_values(["turn", "called"], ascending=[True, False], kind="stable")

    def write_caption(self, run: ReportedRun, sample: int, group: int) -> Caption:
        present = bool(run.labels[sample, group] == 1)
        chance, name = float(run.probabilities[sample, group]), run.classes[group]
        truth = f"{name} {'present' if present else 'absent'}"
        called = "called present" if chance >= 0.5 else "called absent"
        return Caption(f"{truth}, {called}, probability", f"{100 * chance:.1f}", "%", truth)


def _list_known(run: ReportedRun) -> Iterator[tuple[str, Bools, Floats]]:
    """Each finding: its name, and of the images whose label is known presence and probability."""
    for place, name in enumerate(run.classes):
        known = np.isfinite(run.labels[:, place])
        yield name, run.labels[known, place] == 1, run.probabilities[known, place]


def _gather_curves(run: ReportedRun) -> list[Curve]:
    """A curve for each finding that has images with and without it."""
    defined = [one for one in _list_known(run) if one[1].any() and not one[1].all()]
    large = choose_largest(np.array([present.sum() for _, present, _ in defined]))
    return [
        Curve(
            name=name,
            positive=present,
            scores=chances,
            place=large.index(k) if k in large else 0,
            auc=run.metrics[f"auc:{name}"].mean,
            ap=run.metrics[f"ap:{name}"].mean,
        )
        for k, (name, present, chances) in enumerate(defined)
    ]


def _write_own(run: ReportedRun, metric: str, name: str) -> str:
    summary: Summary | None = run.metrics.get(f"{metric}:{name}")
    if summary is None:
        return "–"
    return f"{summary.mean:.3f} ({format_interval(summary.interval)})"


def _check_rare(run: ReportedRun) -> Finding:
    few = [
        f"{name}: {present.sum()} with, {(~present).sum()} without"
        for name, present, _ in _list_known(run)
        if min(present.sum(), (~present).sum()) < FEW_TEST_SAMPLES
    ]
    if not few:
        title = f"Every finding is present, and absent, in {FEW_TEST_SAMPLES} test images or more"
        return Finding(FINE, title)
    title = f"Findings present or absent in fewer than {FEW_TEST_SAMPLES} test images"
    return make_finding(CAUTION, title, "The numbers of these findings rest on few images.", few)


def _check_better_than_guessing(run: ReportedRun) -> Finding:
    unclear = []
    for curve in _gather_curves(run):
        interval = run.metrics[f"auc:{curve.name}"].interval
        if interval is None or interval.low <= 0.5:
            unclear.append(f"{curve.name}: {curve.auc:.3f} ({format_interval(interval)})")
    if not unclear:
        return Finding(FINE, "The AUC of every finding is above guessing")
    text = "The interval of their AUC reaches 0.5, which guessing has."
    title = "Findings that are not clearly told better than by guessing"
    return make_finding(CAUTION, title, text, unclear)
