"""Check a result: its test set, its comparisons and its training; and run every check."""

from samcache.train.config import name_option
from samcache.train.report.checks.data import DATA_CHECKS, check_contradicting_labels
from samcache.train.report.checks.finding import (
    CAUTION,
    FINE,
    PROBLEM,
    Finding,
    make_finding,
)
from samcache.train.report.checks.subgroups import check_subgroups
from samcache.train.report.design import CONTROLS, describe, list_needed_comparisons
from samcache.train.report.facts import Facts
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.scores.format import name_selection

_PLACE_OF_CONTRADICTIONS = 2  # after the checks of copies in the test


def check_run(facts: Facts) -> list[Finding]:
    """Every check's finding, the gravest first."""
    kind = choose_report_kind(facts.run)
    data = [check(facts) for check in DATA_CHECKS]
    if kind.contradictions:
        data.insert(_PLACE_OF_CONTRADICTIONS, check_contradicting_labels(facts, kind.nouns))
    result = [*kind.check_test(facts), _check_seeds(facts), *kind.check_outputs(facts)]
    trained = [_check_comparisons(facts), _check_choices(facts), _check_length(facts)]
    found = [*data, *result, *trained, *check_subgroups(facts)]
    return sorted(found, key=lambda finding: (PROBLEM, CAUTION, FINE).index(finding.kind))


def _check_seeds(facts: Facts) -> Finding:
    count = len(facts.run.seeds)
    if count > 1:
        return Finding(FINE, f"Trained with {count} seeds")
    text = "Another seed may give another result. One seed cannot show by how much."
    return Finding(CAUTION, "Trained with one seed", text)


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
    config, members, target = facts.run.config, facts.run.members, facts.run.target
    metric = name_selection(target.selection)
    if config["keep"] == "last":
        return Finding(FINE, "The last epoch was kept, so validation did not choose an epoch")
    last = [member for member in members if member["kept_epoch"] == config["epochs"]]
    if not last:
        return Finding(FINE, f"No training had its best validation {metric} in the last epoch")
    end = ("lowest", "falling") if target.lower_is_better else ("highest", "rising")
    text = (
        f"There the validation {metric} was {end[0]} at the end, and may still have been {end[1]}. "
        f"More {name_option('epochs')} may give a better result."
    )
    title = f"{len(last)} of {len(members)} trainings kept the last epoch"
    if len(members) == 1:
        title = "The training kept its last epoch"
    return Finding(CAUTION, title, text)
