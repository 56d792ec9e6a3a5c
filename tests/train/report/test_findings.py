"""Checks: each says only what holds of every training, split and image that it speaks of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from reported_runs import ReportedRuns

from samcache.train.report.checks.finding import CAUTION, FINE, PROBLEM, Finding
from samcache.train.report.checks.result import check_run
from samcache.train.report.facts import Facts, ReportedRun, read_facts
from samcache.train.scores.intervals import Interval, Summary


@pytest.fixture(scope="module")
def facts(reported_runs: ReportedRuns) -> Facts:
    return read_facts((reported_runs.slca,), None, None)


def kinds(facts: Facts) -> dict[str, str]:
    return {finding.title: finding.kind for finding in check_run(facts)}


def about(facts: Facts, words: str) -> Finding:
    (found,) = [finding for finding in check_run(facts) if words in finding.title]
    return found


def changed(facts: Facts, change: Callable[[ReportedRun], ReportedRun]) -> Facts:
    return replace(facts, run=change(facts.run))


def with_run(run: ReportedRun, **changes: Any) -> ReportedRun:
    return replace(run, run=replace(run.run, **changes))


def with_results(facts: Facts, **results: Any) -> Facts:
    return changed(facts, lambda run: with_run(run, results={**run.results, **results}))


def with_config(facts: Facts, **config: Any) -> Facts:
    return changed(facts, lambda run: with_run(run, config={**run.config, **config}))


def with_groups(facts: Facts, groups: list[str]) -> Facts:
    """The ten test samples with these patients, without a store."""

    def change(run: ReportedRun) -> ReportedRun:
        test = run.test.assign(group=groups * len(run.seeds))
        return replace(run, tests={1.0: test})

    return replace(changed(facts, change), store=None, described={})


def copies(*splits: str, labels: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """What a store or a run records of one image with copies in some splits."""
    ids = [f"{place}.png" for place in range(len(splits))]
    return [{"ids": ids, "splits": list(splits), "labels": list(labels or [0] * len(splits))}]


@pytest.mark.parametrize(
    ("splits", "keep", "title", "kind", "text"),
    [
        (("train", "test"), "best", "training and test", PROBLEM, "learned in training and then"),
        (("val", "test"), "best", "validation and test", PROBLEM, "helped to choose the epoch"),
        (("val", "test"), "last", "validation and test", CAUTION, "validation chose no epoch"),
        (("train", "val"), "best", "training and validation", CAUTION, "validation result may be"),
    ],
)
def test_a_copy_in_two_splits_did_what_its_splits_do(
    facts: Facts, splits: tuple[str, ...], keep: str, title: str, kind: str, text: str
) -> None:
    one = with_config(replace(facts, described={}), keep=keep)
    found = [
        f for f in check_run(with_results(one, leaks=copies(*splits))) if " in both " in f.title
    ]
    (told,) = [finding for finding in found if finding.kind != FINE]
    assert told.title == f"1 image in both {title}"
    assert told.kind == kind
    assert text in told.text
    assert ("learned" in told.text) is ("train" in splits)
    clean = [finding.title for finding in found if finding.kind == FINE]
    assert len(clean) == 2
    assert all(line.startswith("No image is in both") for line in clean)


def test_an_image_in_all_splits_is_told_for_every_pair(facts: Facts) -> None:
    everywhere = with_results(replace(facts, described={}), leaks=copies("train", "val", "test"))
    assert sum(title.startswith("1 image in both") for title in kinds(everywhere)) == 3


def test_folds_keep_copies_together_and_count_them(facts: Facts) -> None:
    described = {**facts.described, "duplicates": copies("train", "test")}
    found = kinds(with_results(replace(facts, described=described), folds=2))
    assert found["Folds keep all copies of an image out of both training and test"] == FINE
    assert found["1 image occurs more than once"] == CAUTION


def test_without_a_store_only_copies_across_splits_are_known(facts: Facts) -> None:
    alone = with_results(replace(facts, store=None, described={}), leaks=[])
    found = kinds(alone)
    assert found["No two copies of an image in different splits have different classes"] == FINE
    assert found["Copies of an image in the same split were not looked for"] == CAUTION
    odd = with_results(alone, leaks=copies("train", "test", labels=(0, 1)))
    assert kinds(odd)["1 image with contradicting labels"] == PROBLEM


@pytest.mark.parametrize(
    ("kept", "title", "kind"),
    [
        ((1, 1), "No training had its best validation AUC in the last epoch", FINE),
        ((1, 2), "1 of 2 trainings kept the last epoch", CAUTION),
        ((2, 2), "2 of 2 trainings kept the last epoch", CAUTION),
        ((2,), "The training kept its last epoch", CAUTION),
    ],
)
def test_the_length_of_training_is_told_of_every_training(
    facts: Facts, kept: tuple[int, ...], title: str, kind: str
) -> None:
    members = [{"fraction": 1.0, "kept_epoch": epoch} for epoch in kept]
    assert kinds(with_results(facts, members=members))[title] == kind


def test_the_last_epoch_that_was_asked_for_says_nothing_of_length(facts: Facts) -> None:
    found = kinds(with_config(facts, keep="last"))
    assert found["The last epoch was kept, so validation did not choose an epoch"] == FINE
    assert not any("kept the last epoch" in title for title in found)


@pytest.mark.parametrize(
    ("groups", "parted", "title", "kind"),
    [
        ([""] * 10, 0, "Patients are not known", CAUTION),
        ([*"abcdefgh", "", ""], 0, "Patients are known for 8 of 10 test images", CAUTION),
        (list("aabbccddee"), 0, "The test set has only 5 patients", CAUTION),
        (list("aabbccddee"), 2, "2 patients in more than one split", PROBLEM),
    ],
)
def test_patients_are_counted_once_whatever_the_seeds(
    facts: Facts, groups: list[str], parted: int, title: str, kind: str
) -> None:
    assert kinds(with_results(with_groups(facts, groups), parted_groups=parted))[title] == kind


def test_patients_of_the_store_count_not_only_those_of_the_test(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of unknown patients in training may be of those in the test."""
    known = with_groups(facts, [f"p{place}" for place in range(10)])
    groups = pd.Series([*(f"p{place}" for place in range(10)), "", ""])
    monkeypatch.setattr(Facts, "groups", groups)
    found = kinds(replace(known, store=facts.store, described=facts.described))
    assert found["Patients are known for 10 of 12 images"] == CAUTION


@pytest.mark.parametrize(
    ("low", "high", "title"),
    [
        (0.8, 0.9, "Accuracy is above that of a constant answer"),
        (0.4, 0.9, "Accuracy is not clearly above that of a constant answer"),
        (0.1, 0.2, "Accuracy is below that of a constant answer"),
        (None, None, "Accuracy has no interval to compare with a constant answer"),
    ],
)
def test_accuracy_is_compared_with_the_constant_answer_as_its_interval_allows(
    facts: Facts, low: float | None, high: float | None, title: str
) -> None:
    interval = None if low is None or high is None else Interval(low, high, 9)

    def change(run: ReportedRun) -> ReportedRun:
        ensemble = {**run.metrics, "accuracy": Summary(0.5, None, interval)}
        return replace(run, fractions=(replace(run.scores, ensemble=ensemble),))

    assert title in kinds(changed(facts, change))


def test_clean_data_has_no_problem(facts: Facts) -> None:
    clean = with_results(facts, leaks=[], unreadable=0)
    found = kinds(replace(clean, described={**facts.described, "duplicates": [], "unreadable": {}}))
    assert PROBLEM not in found.values()
    assert found["Every extracted image could be read"] == FINE
    assert found["No image occurs more than once in the same split"] == FINE


def test_a_run_to_compare_with_differs_in_its_design_alone(reported_runs: ReportedRuns) -> None:
    """The backbone alone was trained for 1 epoch, the reported run for 2."""
    unequal = read_facts((reported_runs.slca, reported_runs.none), None, None)
    missing = about(unequal, "Runs to compare with are missing").items
    assert any("--attention none" in item for item in missing)
    (none,) = unequal.others
    equal = with_run(none, config={**none.config, "epochs": unequal.run.config["epochs"]})
    missing = about(replace(unequal, others=[equal]), "Runs to compare with").items
    assert not any("--attention none" in item for item in missing)
    assert any("--attention shuffled or random" in item for item in missing)
