"""Checks of the images behind a result: copies, labels, missing images, patients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from samcache.cache.text import count_nouns
from samcache.train.report.checks.finding import CAUTION, FINE, PROBLEM, Finding, make_finding
from samcache.train.report.facts import Facts

_FEW_PATIENTS = 20  # in the test set


@dataclass(frozen=True)
class _Pair:
    """Two splits that should share no image, and what a copy in both means."""

    splits: frozenset[str]
    name: str
    kind: str
    text: str


_TRAIN_TEST = _Pair(
    frozenset({"train", "test"}),
    "training and test",
    PROBLEM,
    "Such an image was learned in training and then used in the test. The test result may be too "
    "good.",
)
_VAL_TEST = _Pair(
    frozenset({"val", "test"}),
    "validation and test",
    PROBLEM,
    "Such an image helped to choose the epoch that was kept, and was then used in the test. The "
    "test result may be a little too good.",
)
_VAL_TEST_LAST = _Pair(
    _VAL_TEST.splits,
    _VAL_TEST.name,
    CAUTION,
    "The last epoch was kept, so validation chose no epoch. If you chose options by their "
    "validation result, such a test image took part in that choice.",
)
_TRAIN_VAL = _Pair(
    frozenset({"train", "val"}),
    "training and validation",
    CAUTION,
    "Such an image was learned in training, so the validation result may be too good. A choice by "
    "validation may then be worse on new images.",
)


def check_train_test_copies(facts: Facts) -> Finding:
    """Images that were learned and then tested."""
    return _check_shared(facts, _TRAIN_TEST)


def check_val_test_copies(facts: Facts) -> Finding:
    """Images that chose the epoch and were then tested."""
    return _check_shared(facts, _VAL_TEST_LAST if facts.run.config["keep"] == "last" else _VAL_TEST)


def check_train_val_copies(facts: Facts) -> Finding:
    """Images that were learned and then chose the epoch."""
    return _check_shared(facts, _TRAIN_VAL)


def _check_shared(facts: Facts, pair: _Pair) -> Finding:
    if facts.run.results["folds"]:
        return Finding(FINE, f"Folds keep all copies of an image out of both {pair.name}")
    shared = [same for same in facts.duplicates if pair.splits <= set(same["splits"])]
    if not shared:
        return Finding(FINE, f"No image is in both {pair.name}")
    title = f"{count_nouns(len(shared), 'image')} in both {pair.name}"
    return make_finding(
        pair.kind, title, pair.text, [_describe_copies(facts, same) for same in shared]
    )


def check_repeats(facts: Facts) -> Finding:
    """Images that count more than once."""
    folds = facts.run.results["folds"]
    where = "" if folds else " in the test" if facts.run.task else " in the same split"
    if facts.store is None:
        text = "The store could not be read."
        return Finding(CAUTION, "Copies of an image in the same split were not looked for", text)
    found = [
        same for same in facts.duplicates if folds or len(set(same["splits"])) < len(same["splits"])
    ]
    if not found:
        return Finding(FINE, f"No image occurs more than once{where}")
    number = count_nouns(len(found), "image")
    title = f"{number} {'occurs' if len(found) == 1 else 'occur'} more than once{where}"
    text = (
        "A copy counts as another image. Copies in the test make the interval a little narrower "
        "than it should be."
    )
    return make_finding(CAUTION, title, text, [_describe_copies(facts, same) for same in found])


def check_contradicting_labels(facts: Facts, nouns: tuple[str, str]) -> Finding:
    """Copies of one image with different classes; nouns: one and several of what they have."""
    odd = [same for same in facts.duplicates if len(set(same["labels"])) > 1]
    if not odd:
        where = "" if facts.store and not facts.run.task else " in different splits"
        if facts.store and facts.run.task:
            where = " in the test or in different splits"
        return Finding(FINE, f"No two copies of an image{where} have different {nouns[1]}")
    text = f"The same image has two {nouns[1]}, so at least one label is wrong."
    title = f"{count_nouns(len(odd), 'image')} with contradicting labels"
    return make_finding(PROBLEM, title, text, [_describe_copies(facts, same) for same in odd])


def check_unreadable(facts: Facts) -> Finding:
    """Images that the run could not use."""
    count = facts.run.results["unreadable"]
    if not count:
        return Finding(FINE, "Every extracted image could be read")
    reasons: dict[str, str] = facts.described.get("unreadable", {})
    text = "Training, validation and test left them out."
    items = [f"{name}: {reason}" for name, reason in reasons.items()]
    return make_finding(CAUTION, f"{count_nouns(count, 'image')} could not be read", text, items)


def check_missing(facts: Facts) -> Finding:
    """Images that were not extracted yet."""
    count = facts.run.results["missing"]
    if not count:
        return Finding(FINE, "The store was complete when the run was trained")
    verb = "was" if count == 1 else "were"
    text = "The run did not use them. Finish the extraction and train again."
    title = f"{count_nouns(count, 'image')} {verb} not extracted when the run was trained"
    return Finding(PROBLEM, title, text)


def check_patients(facts: Facts) -> Finding:
    """Whether a patient can be in training and test, and how many patients there are."""
    parted = facts.run.results.get("parted_groups")  # runs of earlier versions have none
    if parted:
        text = (
            "Images of one patient (or lesion) are alike. If the images of a patient are in "
            "training and in test, the test result may be too good."
        )
        title = f"{count_nouns(parted, 'patient')} in more than one split"
        return Finding(PROBLEM, title, text)
    groups, images = facts.groups, "images" if facts.store else "test images"
    known = int((groups != "").sum())
    if 0 < known < len(groups):
        text = "An image without a patient counts as a patient of its own, which may be wrong."
        return Finding(CAUTION, f"Patients are known for {known} of {len(groups)} {images}", text)
    if not known:
        return Finding(CAUTION, "Patients are not known", _UNKNOWN_PATIENTS)
    count = facts.run.samples["group"].nunique()
    if count < _FEW_PATIENTS:
        text = (
            "Intervals draw whole patients, since images of one patient are alike. With so few "
            "patients, other patients may give a very different result."
        )
        return Finding(CAUTION, f"The test set has only {count_nouns(count, 'patient')}", text)
    if parted is None or facts.store is None:
        return Finding(FINE, f"Patients are known for all {images}")
    return Finding(FINE, "Patients are known, and no patient is in two splits")


_UNKNOWN_PATIENTS = (
    "The data set names no patients (or lesions). So no check can find images of one patient in "
    "both training and test. Intervals count every image as independent: with several images of a "
    "patient they are too narrow."
)


def _describe_copies(facts: Facts, same: dict[str, Any]) -> str:
    """Such as "a.png (train, melanoma) = b.png (test, nevus)"; folds have no such splits."""
    copies = zip(same["ids"], same["splits"], same["labels"], strict=True)
    run, folds = facts.run, facts.run.results["folds"]
    own = facts.described and not run.task
    classes = facts.described["dataset"]["classes"] if own else run.classes
    told = []
    for name, split, label in copies:
        words = [*([] if folds else [split]), *([classes[label]] if run.target.graded else [])]
        told.append(f"{name} ({', '.join(words)})" if words else name)
    return " = ".join(told)


DATA_CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    check_train_test_copies,
    check_val_test_copies,
    check_missing,
    check_unreadable,
    check_train_val_copies,
    check_repeats,
    check_patients,
)
