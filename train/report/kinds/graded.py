"""What classes and grades have in common: each image is of one of several names."""

import numpy as np
import pandas as pd

from samcache.train.report.checks.finding import (
    CAUTION,
    FINE,
    Finding,
    format_percent,
    make_finding,
)
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.kinds.base import Caption, ReportKind, check_size
from samcache.train.report.phrases import list_classes

FEW_TEST_SAMPLES = 30  # of a class
POOR_CALIBRATION = 0.1
_WIDE_INTERVAL = 0.1  # of the accuracy
_MOST_CLASSES = 10  # with examples


class Graded(ReportKind):
    """The parts of a page that speak of one name of several for each image."""

    def describe_subject(self, run: ReportedRun) -> str:
        return list_classes(run.classes)

    def describe_data(self, run: ReportedRun) -> str:
        return f"{self.nouns[1]} {list_classes(run.classes, ', ', '“', '”')}"

    def count_tested(self, run: ReportedRun) -> list[tuple[str, int]]:
        sizes = np.bincount(run.labels, minlength=len(run.classes))
        return list(zip(run.classes, map(int, sizes), strict=True))

    def check_test(self, facts: Facts) -> list[Finding]:
        return [
            check_size(facts.run, "accuracy", _WIDE_INTERVAL, self._describe_size(facts.run)),
            self._check_rare(facts.run),
            self._check_better_than_guessing(facts.run),
        ]

    def _describe_size(self, run: ReportedRun) -> str:
        interval = run.metrics["accuracy"].interval
        width = 0.0 if interval is None else interval.high - interval.low
        return (
            f"One image changes the accuracy by {100 / run.scores.test_samples:.2f} points, and "
            f"its 95 % interval is {100 * width:.0f} points wide. This test set cannot show small "
            "differences."
        )

    def _check_rare(self, run: ReportedRun) -> Finding:
        noun, nouns = self.nouns
        rare = [
            f"{name}: {size}" for name, size in self.count_tested(run) if size < FEW_TEST_SAMPLES
        ]
        if not rare:
            return Finding(FINE, f"Every {noun} has {FEW_TEST_SAMPLES} test images or more")
        text = f"The numbers of these {nouns} rest on few images."
        title = f"{nouns.capitalize()} with fewer than {FEW_TEST_SAMPLES} test images"
        return make_finding(CAUTION, title, text, rare)

    def _check_better_than_guessing(self, run: ReportedRun) -> Finding:
        name, share = run.commonest
        accuracy = run.metrics["accuracy"]
        if accuracy.interval is None:
            title = "Accuracy has no interval to compare with a constant answer"
        elif accuracy.interval.low > share:
            return Finding(FINE, "Accuracy is above that of a constant answer")
        elif accuracy.interval.high < share:
            title = "Accuracy is below that of a constant answer"
        else:
            title = "Accuracy is not clearly above that of a constant answer"
        text = (
            f"The accuracy is {format_percent(accuracy.mean, 1)}. Always answering “{name}” is "
            f"right for {format_percent(share, 1)} of the test images. Look at "
            f"{self.headline_title} and at each {self.nouns[0]} instead."
        )
        return Finding(CAUTION, title, text)

    def check_outputs(self, facts: Facts) -> list[Finding]:
        error = facts.run.metrics["ece"].mean
        if error <= POOR_CALIBRATION:
            return [Finding(FINE, f"Calibration error is {error:.3f}")]
        text = "Do not read the probabilities as risks."
        return [Finding(CAUTION, f"Calibration error is {error:.3f}: that is high", text)]

    def list_example_groups(self, run: ReportedRun) -> list[tuple[int, str]]:
        """The classes with test images; of many, those with most."""
        sizes = run.samples["label"].value_counts()
        largest, hits = set(sizes.index[:_MOST_CLASSES]), run.answers == run.labels
        groups = []
        for place, name in enumerate(run.classes):
            if name in largest:
                own = run.labels == place
                recognised = f"{hits[own].sum()} of {own.sum()} recognised"
                groups.append((place, f"{name}: {recognised}"))
        return groups

    def rank_examples(self, run: ReportedRun) -> pd.DataFrame:
        places = np.arange(len(run.labels))
        table = pd.DataFrame({"sample": places, "group": run.labels})
        table["right"] = run.answers == run.labels
        table["probability"] = run.probabilities[places, run.answers]
        table["id"] = run.samples["id"].to_numpy()
        return table.sort_values(["probability", "id"], ascending=[False, True])

    def write_caption(self, run: ReportedRun, sample: int, group: int) -> Caption:
        answer = int(run.answers[sample])
        verb = "recognised as" if answer == group else "taken for"
        percent = f"{100 * run.probabilities[sample, answer]:.1f}"
        return Caption(f"{verb} {run.classes[answer]},", percent, "%", run.classes[group])
