"""Every place of a page describes a run as what it is: gates, a second head, a control, neither."""

import re
from dataclasses import replace

import pytest
from reported_runs import ReportedRuns

from samcache.train.report.checks.result import check_run
from samcache.train.report.design import list_needed_comparisons
from samcache.train.report.examples import Examples
from samcache.train.report.facts import Facts, ReportedRun, read_facts
from samcache.train.report.page import render
from samcache.train.report.words import write_model_card, write_verdict

# attention, join -> what every description says, and what none says
SAID = {
    ("none", False): (["alone, without the encoder's features"], ["gated", "head", "control"]),
    ("none", True): (["without gates", "second head"], ["gated by", "alone", "control"]),
    ("slca", False): (["gated by SLCA", "of the same image"], ["head", "alone", "control"]),
    ("slca", True): (["gated by SLCA", "second head", "frozen encoder's"], ["control", "alone"]),
    ("shuffled", False): (["control", "features of another image"], ["head", "SLCA"]),
    ("shuffled", True): (["control", "second head", "of that other image"], ["SLCA", "same image"]),
    ("random", False): (["control", "noise in place of features"], ["head", "SLCA"]),
    ("random", True): (["control", "second head", "classifies the noise"], ["frozen encoder's"]),
    ("global", False): (["control", "mean of each feature map"], ["head", "SLCA"]),
    ("global", True): (["control", "second head", "frozen encoder's"], ["noise", "other image"]),
    ("per-location", False): (["control", "every cell"], ["head", "SLCA"]),
    ("per-location", True): (["control", "every cell", "second head"], ["noise", "other image"]),
}
JOINED_NEEDS = (
    "--attention none",
    "--attention none --join",
    "--attention shuffled or random --join",
)
every_design = pytest.mark.parametrize(("attention", "join"), SAID)


@pytest.fixture(scope="module")
def facts(reported_runs: ReportedRuns) -> Facts:
    return read_facts((reported_runs.slca, reported_runs.none), None, None)


def designed(run: ReportedRun, attention: str, join: bool) -> ReportedRun:
    changed = {**run.config, "attention": attention, "join": join}
    return replace(run, run=replace(run.run, config=changed))


def check(text: str, attention: str, join: bool) -> None:
    present, absent = SAID[attention, join]
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


@every_design
def test_a_reported_run_is_described_as_what_it_is(
    facts: Facts, attention: str, join: bool
) -> None:
    one = replace(facts, run=designed(facts.run, attention, join))
    page = render(one, check_run(one), Examples([], False, "not drawn"), [])
    places = {
        "header": re.findall(r'<p class="sub">Report of the run slca: (.*)</p>', page),
        "comparison": re.findall(r'slca \(this report\)<br><span class="sub">(.*?)</span>', page),
    }
    for found in places.values():
        assert len(found) == 1
        check(found[0].replace("&#39;", "'"), attention, join)
    card = dict(write_model_card(one))["What it is"]
    check(card.replace("Control", "control").partition(" The backbone")[0], attention, join)
    told = [f.text for f in check_run(one) if "compare with" in f.title or "control" in f.title]
    assert len(told) == ((attention, join) != ("none", False))
    for text in told:
        assert "is control" not in text
        check(re.split(r"run is|\. (?:No|Use)", text)[1], attention, join)


@every_design
def test_a_baseline_is_described_as_what_it_is(facts: Facts, attention: str, join: bool) -> None:
    base = designed(facts.others[0], attention, join)
    sentence = write_verdict(replace(facts, others=[base], baseline=base))[-1]
    check(sentence[sentence.index("(") : sentence.index(")")], attention, join)
    assert sentence.startswith("The mean over 2 seeds of the AUC")


@pytest.mark.parametrize(
    ("attention", "join", "options"),
    [
        ("none", False, []),
        ("none", True, ["--attention none"]),
        ("slca", False, ["--attention none", "--attention shuffled or random"]),
        (
            "slca",
            True,
            [
                "--attention none",
                "--attention none --join",
                "--attention shuffled or random --join",
            ],
        ),
    ],
)
def test_the_runs_to_compare_with_follow_from_the_design(
    attention: str, join: bool, options: list[str]
) -> None:
    needed = list_needed_comparisons({"attention": attention, "join": join})
    assert [each.options for each in needed] == options


def test_a_joined_run_without_gates_has_examples_without_gates(
    reported_runs: ReportedRuns,
) -> None:
    """No page speaks of gates that a run does not have."""
    facts = read_facts((reported_runs.none,), None, None)
    one = replace(facts, run=designed(facts.run, "none", True))
    page = render(one, check_run(one), Examples([], False, ""), [])
    assert "Yellow is 1" not in page
