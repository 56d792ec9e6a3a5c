"""Check a result: its test set, its comparisons and its training; and run every check."""

from collections.abc import Callable

import numpy as np

from samcache.cache.text import count_nouns
from samcache.train.config import name_option
from samcache.train.report.checks.data import DATA_CHECKS
from samcache.train.report.checks.finding import (
    CAUTION,
    FINE,
    PROBLEM,
    Finding,
    format_percent,
    make_finding,
)
from samcache.train.report.design import CONTROLS, describe, list_needed_comparisons
from samcache.train.report.facts import Facts

_FEW_TEST_SAMPLES = 30  # of a class
_WIDE_INTERVAL = 0.1  # of the accuracy
_POOR_CALIBRATION = 0.1


def check_run(facts: Facts) -> list[Finding]:
    """Every check's finding, the gravest first."""
    found = [check(facts) for check in (*DATA_CHECKS, *_CHECKS)]
    return sorted(found, key=lambda finding: (PROBLEM, CAUTION, FINE).index(finding.kind))


def _check_test_size(facts: Facts) -> Finding:
    count = facts.run.scores.test_samples
    interval = facts.run.metrics["accuracy"].interval
    title = f"The test set has {count_nouns(count, 'image')}"
    if interval is None:
        text = "All of them are of one patient, so nothing shows how other patients would differ."
        return Finding(CAUTION, f"{title} of one patient, and its numbers have no interval", text)
    width = interval.high - interval.low
    if width <= _WIDE_INTERVAL:
        return Finding(FINE, title)
    text = (
        f"One image changes the accuracy by {100 / count:.2f} points, and its 95 % interval is "
        f"{100 * width:.0f} points wide. This test set cannot show small differences."
    )
    return Finding(CAUTION, f"{title}: that is few", text)


def _check_rare_classes(facts: Facts) -> Finding:
    sizes = np.bincount(facts.run.labels, minlength=len(facts.run.classes))
    rare = [
        f"{name}: {size}"
        for name, size in zip(facts.run.classes, sizes, strict=True)
        if size < _FEW_TEST_SAMPLES
    ]
    if not rare:
        return Finding(FINE, f"Every class has {_FEW_TEST_SAMPLES} test images or more")
    text = "The numbers of these classes rest on few images."
    return make_finding(
        CAUTION, f"Classes with fewer than {_FEW_TEST_SAMPLES} test images", text, rare
    )


def _check_better_than_constant(facts: Facts) -> Finding:
    name, share = facts.run.commonest
    accuracy = facts.run.metrics["accuracy"]
    if accuracy.interval is None:
        title = "Accuracy has no interval to compare with a constant answer"
    elif accuracy.interval.low > share:
        return Finding(FINE, "Accuracy is above that of a constant answer")
    elif accuracy.interval.high < share:
        title = "Accuracy is below that of a constant answer"
    else:
        title = "Accuracy is not clearly above that of a constant answer"
    text = (
        f"The accuracy is {format_percent(accuracy.mean, 1)}. Always answering “{name}” is right "
        f"for {format_percent(share, 1)} of the test images. Look at AUC and at each class instead."
    )
    return Finding(CAUTION, title, text)


def _check_seeds(facts: Facts) -> Finding:
    count = len(facts.run.seeds)
    if count > 1:
        return Finding(FINE, f"Trained with {count} seeds")
    text = "Another seed may give another result. One seed cannot show by how much."
    return Finding(CAUTION, "Trained with one seed", text)


def _check_probabilities(facts: Facts) -> Finding:
    error = facts.run.metrics["ece"].mean
    if error <= _POOR_CALIBRATION:
        return Finding(FINE, f"Calibration error is {error:.3f}")
    text = "Do not read the probabilities as risks."
    return Finding(CAUTION, f"Calibration error is {error:.3f}: that is high", text)


def _check_comparisons(facts: Facts) -> Finding:
    """Whether other runs show where the result comes from."""
    config = facts.run.config
    if config["attention"] in CONTROLS:
        text = f"The run is a {describe(config)}. Use its result to compare with other runs only."
        return Finding(CAUTION, "The reported run is a control", text)
    needed = list_needed_comparisons(config)
    if not needed:
        return Finding(FINE, "The run uses no features whose part other runs should show")
    absent = [
        f"{each.shows}: {each.options}"
        for each in needed
        if not any(each.is_met_by(run.config, config) for run in facts.others)
    ]
    if not absent:
        return Finding(FINE, "Other runs show the part of the features: see the comparison")
    text = (
        f"The reported run is {describe(config)}. No run among these shows the following. Train "
        "such runs with otherwise equal options, and add them to the report."
    )
    return make_finding(CAUTION, "Runs to compare with are missing", text, absent)


def _check_choices(facts: Facts) -> Finding:
    count = len(facts.runs)
    if count == 1:
        return Finding(FINE, "The report has one run: nobody chose it among others shown here")
    text = (
        "If you chose the reported run by its test result, that result is too good. Choose by "
        "validation and test once. The runs do not record how often this test set was used before."
    )
    return Finding(CAUTION, f"{count} runs were tested on the same images", text)


def _check_length(facts: Facts) -> Finding:
    config, members = facts.run.config, facts.run.members
    if config["keep"] == "last":
        return Finding(FINE, "The last epoch was kept, so validation did not choose an epoch")
    last = [member for member in members if member["kept_epoch"] == config["epochs"]]
    if not last:
        return Finding(FINE, "No training had its best validation AUC in the last epoch")
    text = (
        "There the validation AUC was highest at the end, and may still have been rising. More "
        f"{name_option('epochs')} may give a better result."
    )
    title = f"{len(last)} of {len(members)} trainings kept the last epoch"
    if len(members) == 1:
        title = "The training kept its last epoch"
    return Finding(CAUTION, title, text)


_CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    _check_test_size,
    _check_rare_classes,
    _check_better_than_constant,
    _check_seeds,
    _check_probabilities,
    _check_comparisons,
    _check_choices,
    _check_length,
)
