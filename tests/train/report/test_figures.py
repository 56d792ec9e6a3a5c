"""Figures: names are text, colours the page's, numbers the predictions', classes any number."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from reported_runs import DOLLAR, SCRIPT, ReportedRuns, with_classes

from samcache.cache.text import escape_controls
from samcache.train.report.drawings.svg import SERIES, make_figure, open_canvas, shorten_name
from samcache.train.report.facts import Facts, read_facts
from samcache.train.report.figures import draw_figures


def facts_of(folder: Path) -> Facts:
    return read_facts((folder,), None, None)


def test_a_name_in_a_figure_is_never_markup_nor_mathematics() -> None:
    names = [SCRIPT, "$\\frac{", "_hidden", "肺\x01\ud83d", "a" * 99]
    with open_canvas() as (drawing, axes):
        for name in names:
            axes.text(0, 0, shorten_name(name))
        drawn = make_figure(drawing, "Title", f"shows {SCRIPT}", "")
    root = ET.fromstring(str(drawn.svg))
    assert root.attrib["aria-label"] == f"Title. shows {escape_controls(SCRIPT)}"
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert [text for text in texts if text in map(shorten_name, names)] == list(
        map(shorten_name, names)
    )
    assert shorten_name("肺\x01\ud83d") == "肺\ufffd\ufffd"


def test_figures_take_the_pages_colours_and_repeat_themselves(reported_runs: ReportedRuns) -> None:
    facts = facts_of(reported_runs.slca)
    first, second = draw_figures(facts), draw_figures(facts)
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
    means = test[test["label"] == DOLLAR].groupby("id")[[f"p_{SCRIPT}", f"p_{DOLLAR}"]].mean()
    share = 100 * float((means.to_numpy().argmax(axis=1) == 1).mean())
    matrix = next(
        drawn for drawn in draw_figures(facts_of(run.folder)) if "Confusion" in drawn.title
    )
    assert f"{share:.0f} % of “{shorten_name(DOLLAR)}”" in matrix.finding


@pytest.mark.parametrize("count", [3, 9, 40])
def test_any_number_of_classes_can_be_drawn(reported_runs: ReportedRuns, count: int) -> None:
    facts = facts_of(reported_runs.none)
    names = tuple(f"class {place}" for place in range(count))
    drawn = {
        each.title: each
        for each in draw_figures(replace(facts, run=with_classes(facts.run, names)))
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
