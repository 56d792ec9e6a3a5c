"""Figures: names are text, colours the page's, numbers the predictions', classes any number."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from reported_runs import DOLLAR, SCRIPT, ReportedRuns

from samcache.cache.visible import visible
from samcache.train.bootstrap import Interval, Summary
from samcache.train.report.facts import Facts, ReportedRun, read_facts
from samcache.train.report.figures import figures
from samcache.train.report.svg import SERIES, canvas, figure, shown


def facts_of(folder: Path) -> Facts:
    return read_facts((folder,), None, None)


def test_a_name_in_a_figure_is_never_markup_nor_mathematics() -> None:
    names = [SCRIPT, "$\\frac{", "_hidden", "肺\x01\ud83d", "a" * 99]
    with canvas() as (drawing, axes):
        for name in names:
            axes.text(0, 0, shown(name))
        drawn = figure(drawing, "Title", f"shows {SCRIPT}", "")
    root = ET.fromstring(str(drawn.svg))
    assert root.attrib["aria-label"] == f"Title. shows {visible(SCRIPT)}"
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert [text for text in texts if text in map(shown, names)] == list(map(shown, names))
    assert shown("肺\x01\ud83d") == "肺\ufffd\ufffd"


def test_figures_take_the_pages_colours_and_repeat_themselves(reported_runs: ReportedRuns) -> None:
    facts = facts_of(reported_runs.slca)
    first, second = figures(facts), figures(facts)
    assert [str(drawn.svg) for drawn in first] == [str(drawn.svg) for drawn in second]
    for drawn in first:
        assert "currentColor" in drawn.svg
        assert "var(--series-1)" in drawn.svg or "var(--series-2)" in drawn.svg
        colours = set(re.findall(r"(?:fill|stroke): (#\w+)", drawn.svg))
        assert colours <= {"#ffffff"}, drawn.title


def test_confusion_counts_what_the_predictions_say(reported_runs: ReportedRuns) -> None:
    run = facts_of(reported_runs.slca).run
    table = pd.read_csv(reported_runs.slca / "predictions.csv", keep_default_na=False)
    test = table[(table["split"] == "test") & (table["fraction"] == 1)]
    taken = test[[f"p_{SCRIPT}", f"p_{DOLLAR}"]].to_numpy().argmax(axis=1)
    own = (test["label"] == DOLLAR).to_numpy()
    share = float((taken[own] == 1).mean())
    matrix = next(drawn for drawn in figures(facts_of(run.folder)) if "Confusion" in drawn.title)
    assert f"{share:.0%} of “{shown(DOLLAR)}”" in matrix.finding


def with_classes(run: ReportedRun, count: int) -> ReportedRun:
    """The run as if it had so many classes, with likely answers drawn at random."""
    rng, names = np.random.default_rng(0), tuple(f"class {place}" for place in range(count))
    labels = np.arange(6 * count) % count
    tables = []
    for seed in run.seeds:
        logits = rng.normal(size=(len(labels), count)) + 3 * np.eye(count)[labels]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame(p, columns=[f"p_{name}" for name in names])
        table["label"] = [names[label] for label in labels]
        tables.append(table.assign(seed=seed, id=[f"{row:04}" for row in range(len(labels))]))
    metrics = {
        f"{kind}:{name}": Summary(0.5, None, None) for kind in ("auc", "ap") for name in names
    }
    metrics |= {name: Summary(0.5, None, Interval(0.4, 0.6, 9)) for name in ("auc", "ece")}
    scores = replace(run.scores, metrics=metrics)
    known = replace(run.run, classes=names, tests={1.0: pd.concat(tables)})
    return replace(run, run=known, fractions=(scores,))


@pytest.mark.parametrize("count", [3, 9, 40])
def test_any_number_of_classes_can_be_drawn(reported_runs: ReportedRuns, count: int) -> None:
    facts = facts_of(reported_runs.none)
    drawn = {
        each.title: each for each in figures(replace(facts, run=with_classes(facts.run, count)))
    }
    legend = re.findall(r">AUC [\d.]+: class \d+<", drawn["ROC curve"].svg)
    assert len(legend) == min(count, len(SERIES))
    assert ("8 with most test images" in drawn["ROC curve"].reading) == (count > len(SERIES))
    if count > 30:
        pairs = re.findall(r">class \d+ → class \d+<", drawn["Confused classes"].svg)
        assert len(pairs) == 12
        assert drawn["Confused classes"].finding.count("→") == 4
        return
    named = re.findall(r">class \d+<", drawn["Confusion matrix"].svg)
    assert len(named) == 2 * count
    assert ("more" in drawn["Confusion matrix"].finding) == (count > 4)
