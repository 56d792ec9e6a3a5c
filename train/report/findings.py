"""What a reader should know before believing a number: every check, with what it found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from samcache.train.report.facts import Facts

PROBLEM, CAUTION, FINE = "problem", "caution", "fine"
_FEW_TEST_SAMPLES = 30  # of a class
_FEW_PATIENTS = 20  # in the test set
_WIDE_INTERVAL = 0.1  # of the accuracy
_POOR_CALIBRATION = 0.1
_MOST_ITEMS = 20


@dataclass(frozen=True)
class Finding:
    """One check: "problem" (numbers may be wrong), "caution" (read them with care) or "fine"."""

    kind: str
    title: str
    text: str = ""
    items: tuple[str, ...] = ()  # such as sample ids
    more: int = 0  # items left out


def findings(facts: Facts) -> list[Finding]:
    """Every check's finding, the gravest first."""
    found = [check(facts) for check in _CHECKS]
    return sorted(found, key=lambda finding: (PROBLEM, CAUTION, FINE).index(finding.kind))


def _with_items(kind: str, title: str, text: str, items: list[str]) -> Finding:
    kept = tuple(items[:_MOST_ITEMS])
    return Finding(kind, title, text, kept, len(items) - len(kept))


def _leaks(facts: Facts) -> Finding:
    leaks = [same for same in facts.duplicates if len(set(same["splits"])) > 1]
    if not leaks:
        return Finding(FINE, "No image stands in two splits")
    if facts.run.results["folds"]:
        return Finding(FINE, "Copies of an image were kept in one fold")
    text = (
        "These images are identical, byte for byte. What was learned by heart in training is "
        "asked again in the test, so the test result may be too good."
    )
    title = f"{_images(len(leaks))} in more than one split"
    return _with_items(PROBLEM, title, text, [_copies(facts, same) for same in leaks])


def _repeats(facts: Facts) -> Finding:
    if facts.store is None:
        return Finding(CAUTION, "Copies within a split were not looked for", "There is no store.")
    repeats = [same for same in facts.duplicates if len(set(same["splits"])) == 1]
    if not repeats:
        return Finding(FINE, "No image occurs twice in one split")
    text = "Copies count twice, and make the interval a little narrower than it should be."
    title = f"{_images(len(repeats))} more than once in the same split"
    return _with_items(CAUTION, title, text, [_copies(facts, same) for same in repeats])


def _labels(facts: Facts) -> Finding:
    odd = [same for same in facts.duplicates if len(set(same["labels"])) > 1]
    if not odd:
        return Finding(FINE, "No two copies of an image have different classes")
    text = "The same picture carries two classes, so at least one label is wrong."
    title = f"{_images(len(odd))} with contradicting labels"
    return _with_items(PROBLEM, title, text, [_copies(facts, same) for same in odd])


def _unreadable(facts: Facts) -> Finding:
    count = facts.run.results["unreadable"]
    if not count:
        return Finding(FINE, "Every image could be read")
    reasons: dict[str, str] = facts.described.get("unreadable", {})
    text = "They were left out of training and test."
    items = [f"{name}: {reason}" for name, reason in reasons.items()]
    return _with_items(CAUTION, f"{_images(count)} could not be read", text, items)


def _missing(facts: Facts) -> Finding:
    count = facts.run.results["missing"]
    if not count:
        return Finding(FINE, "The store was complete")
    text = "The run did not see them: extract the rest and train again."
    return Finding(PROBLEM, f"{_images(count)} not extracted when this was trained", text)


def _patients(facts: Facts) -> Finding:
    if parted := facts.run.results.get("parted_groups", 0):
        text = (
            "Images of one patient (or lesion) are alike. What was learned of one in training is "
            "asked again in the test, so the test result may be too good."
        )
        return Finding(PROBLEM, f"{parted} patients stand in more than one split", text)
    groups = facts.run.test["group"]
    known, count = int((groups != "").sum()), groups[groups != ""].nunique()
    if 0 < known < len(groups):
        text = "An image without a patient counts as a patient of its own, which it may not be."
        title = f"Patients are known of {known} of {len(groups)} test images"
        return Finding(CAUTION, title, text)
    if 0 < count < _FEW_PATIENTS:
        text = (
            "Intervals draw patients and not images, since images of one patient are alike. Of so "
            "few they say little: another few may give quite other results."
        )
        return Finding(CAUTION, f"The test set has {count} patients: that is few", text)
    if known:
        return Finding(FINE, "Patients are known and were kept whole")
    text = (
        "The data set names no patients (or lesions). Whether one patient's images stand in "
        "training and test cannot be checked, and intervals count every image as independent: "
        "with several images a patient they are too narrow."
    )
    return Finding(CAUTION, "Patients are not known", text)


def _test_size(facts: Facts) -> Finding:
    scores = facts.run.scores
    interval = scores.metrics["accuracy"].interval
    title = f"The test set has {scores.test_samples} images"
    if interval is None:
        text = "They are one patient's. How far another's would be from them cannot be said."
        return Finding(CAUTION, f"{title}, and the accuracy no interval", text)
    width = interval.high - interval.low
    if width <= _WIDE_INTERVAL:
        return Finding(FINE, title)
    text = (
        f"One image is {100 / scores.test_samples:.2f} points of accuracy, and the interval of the "
        f"accuracy is {100 * width:.0f} points wide. Small differences cannot be seen with it."
    )
    return Finding(CAUTION, f"{title}: that is small", text)


def _rare_classes(facts: Facts) -> Finding:
    sizes = np.bincount(facts.run.labels, minlength=len(facts.run.classes))
    rare = [
        f"{name}: {size}"
        for name, size in zip(facts.run.classes, sizes, strict=True)
        if size < _FEW_TEST_SAMPLES
    ]
    if not rare:
        return Finding(FINE, f"Every class has {_FEW_TEST_SAMPLES} test images or more")
    text = "What is said of these classes alone rests on few images."
    title = f"Classes with fewer than {_FEW_TEST_SAMPLES} test images"
    return _with_items(CAUTION, title, text, rare)


def _better_than_guessing(facts: Facts) -> Finding:
    name, share = commonest_class(facts)
    interval = facts.run.scores.metrics["accuracy"].interval
    if interval and interval.low > share:
        return Finding(FINE, "Accuracy is above always giving the commonest class")
    text = (
        f"Always answering {name} would be right in {share:.1%} of the test images, which lies "
        "inside or above the interval of the accuracy. Look at AUC and at each class instead."
    )
    return Finding(CAUTION, "Accuracy is no better than one constant answer", text)


def _seeds(facts: Facts) -> Finding:
    count = len(facts.run.seeds)
    if count > 1:
        return Finding(FINE, f"Trained with {count} seeds")
    text = "How much chance in training matters is not known, and the interval leaves it out."
    return Finding(CAUTION, "Trained once, with one seed", text)


def _probabilities(facts: Facts) -> Finding:
    error = facts.run.scores.metrics["ece"].mean
    if error <= _POOR_CALIBRATION:
        return Finding(FINE, f"Calibration error is {error:.3f}")
    text = "The classifier's probabilities must not be read as risks."
    return Finding(CAUTION, f"Calibration error is {error:.3f}: that is high", text)


def _controls(facts: Facts) -> Finding:
    if facts.run.config["attention"] == "none":
        return Finding(FINE, "No attention whose part needs a control")
    kinds = {run.config["attention"] for run in facts.runs}
    if "none" not in kinds:
        text = (
            "Whether the frozen encoder's features help at all is not shown: train with "
            "--attention none and give both runs."
        )
        return Finding(CAUTION, "No run without attention among the runs", text)
    if not kinds & {"shuffled", "random"}:
        text = (
            "A gain over the backbone could come from the extra layers alone. Runs with "
            "--attention shuffled or random, whose features say nothing of the image, would tell."
        )
        return Finding(CAUTION, "No shuffled or random control among the runs", text)
    return Finding(FINE, "Controls were run: see the comparison")


def _choices(facts: Facts) -> Finding:
    count = len(facts.runs)
    if count == 1:
        return Finding(FINE, "One run: nothing was chosen among runs here")
    text = (
        "If the reported run was chosen by its test result, that result is too good: choose on "
        "validation, and test once. How often this test set was looked at before is not recorded."
    )
    return Finding(CAUTION, f"{count} runs were tested on the same images", text)


def _length(facts: Facts) -> Finding:
    config, members = facts.run.config, facts.run.members
    if config["keep"] == "last":
        return Finding(FINE, "The last epoch was kept, so validation chose none")
    last = [member for member in members if member["kept_epoch"] == config["epochs"]]
    if len(last) * 2 <= len(members):
        return Finding(FINE, "Training had time to end by itself")
    text = "Validation AUC was still rising: with more --epochs the result may be better."
    title = f"{len(last)} of {len(members)} trainings were best in their last epoch"
    return Finding(CAUTION, title, text)


_CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    _leaks,
    _labels,
    _missing,
    _unreadable,
    _repeats,
    _patients,
    _test_size,
    _rare_classes,
    _better_than_guessing,
    _seeds,
    _probabilities,
    _controls,
    _choices,
    _length,
)


def commonest_class(facts: Facts) -> tuple[str, float]:
    """The class with most test samples, and its share of them."""
    sizes = np.bincount(facts.run.labels, minlength=len(facts.run.classes))
    largest = int(sizes.argmax())
    return facts.run.classes[largest], float(sizes[largest] / sizes.sum())


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _copies(facts: Facts, same: dict[str, Any]) -> str:
    """Such as "a.png (train, melanoma) = b.png (test, nevus)"."""
    copies = zip(same["ids"], same["splits"], same["labels"], strict=True)
    classes = facts.described["dataset"]["classes"] if facts.described else facts.run.classes
    return " = ".join(f"{name} ({split}, {classes[label]})" for name, split, label in copies)
