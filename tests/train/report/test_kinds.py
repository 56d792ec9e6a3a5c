"""Every kind of answer has a page in its own words, whose numbers are those of its predictions."""

import html
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from copies import tree
from reported_runs import SCRIPT
from runs_of_kinds import KINDS
from scipy.stats import spearmanr
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from trained_run import copied, write_results

from samcache.cache.errors import ConfigError
from samcache.cache.text import escape_controls
from samcache.cli import cli
from samcache.train.config import TrainConfig
from samcache.train.report.checks.result import check_run
from samcache.train.report.facts import read_facts
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.report.page import write_report
from samcache.train.report.reproduction import make_commands, read_config

FIGURES = {
    "class": ["ROC curve", "Precision and recall", "Confusion matrix", "Calibration"],
    "ordinal": [
        "Confusion matrix", "Errors in grades", "ROC curve of each grade or higher", "Calibration",
    ],
    "multilabel": ["ROC curve", "Precision and recall", "Calibration"],
    "number": ["Predicted and true", "Bland-Altman plot", "Calibration", "Data efficiency"],
}  # fmt: skip
# words that a page of another kind says nothing with
FOREIGN = {
    "class": ["finding was", "grade", "limits of agreement"],
    "ordinal": [" class ", " classes", "limits of agreement"],
    "multilabel": ["recognised", "grade", "constant answer", "limits of agreement"],
    "number": ["AUC", "class", "probabilit", "recognised", "grade"],
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def written(
    runs_of_kinds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """The source of each kind's page, written once."""
    folder, pages = tmp_path_factory.mktemp("pages"), {}

    def write(kind: str) -> str:
        if kind not in pages:
            out = folder / f"{kind}.html"
            write_report((runs_of_kinds[kind],), None, None, out)
            pages[kind] = out.read_text(encoding="utf-8")
        return pages[kind]

    return write


def read_text(page: str) -> str:
    """What a reader sees of a page, but for its options and its commands."""
    body = re.sub(r'(?s)<style>.*?</style>|<section id="(run|reproduce)">.*?</section>', " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def read_answers(run: Path) -> pd.DataFrame:
    """The labels of the test images, and the mean over the seeds of the outputs, by id."""
    table = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    table = table[(table["split"] == "test") & (table["fraction"] == 1)]
    outputs = [name for name in table if name.startswith("p_") or name == "value"]
    labels = [name for name in table if name.startswith("label")]
    own = table.groupby("id")
    return own[labels].first().join(own[outputs].mean())


def measure(kind: str, answers: pd.DataFrame) -> dict[str, float]:
    """Metrics by scikit-learn's and scipy's definitions."""
    if kind == "number":
        true, value = answers["label"], answers["value"]
        return {
            "mean absolute error (years)": mean_absolute_error(true, value),
            "root mean squared error (years)": root_mean_squared_error(true, value),
            "R²": r2_score(true, value),
            "Spearman correlation": spearmanr(true, value).statistic,
            "bias (years)": (value - true).mean(),
        }
    if kind == "multilabel":
        found: dict[str, float] = {}
        for name in KINDS[kind]["target"]:
            known = answers[answers[f"label_{name}"].astype(str) != ""]
            true, chance = known[f"label_{name}"].astype(float), known[f"p_{name}"]
            found[f"auc {name}"] = roc_auc_score(true, chance)
            found[f"ap {name}"] = average_precision_score(true, chance)
        means = {
            k: np.mean([v for n, v in found.items() if n.startswith(k)]) for k in ("auc", "ap")
        }
        return {"AUC (macro)": float(means["auc"]), "AP (macro)": float(means["ap"])}
    true, names = answers["label"].astype(str), [n[2:] for n in answers if n.startswith("p_")]
    chances = answers[[f"p_{name}" for name in names]].to_numpy()
    codes = true.map(names.index)
    if kind == "ordinal":
        median = (chances.cumsum(axis=1) >= 0.5).argmax(axis=1)
        return {
            "quadratic kappa": cohen_kappa_score(codes, median, weights="quadratic"),
            "mean absolute error (grades)": np.abs(codes - median).mean(),
            "accuracy": (codes == median).mean(),
        }
    return {"AUC (macro)": roc_auc_score(codes, chances[:, 1])}


@every_kind
def test_the_page_has_the_numbers_of_the_predictions(
    kind: str, written: Callable[[str], str], runs_of_kinds: dict[str, Path]
) -> None:
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th><td[^>]*>([^<]*)</td>', written(kind))
    found = {html.unescape(name): value for name, value in rows}
    for name, value in measure(kind, read_answers(runs_of_kinds[kind])).items():
        assert found[name] == f"{value:.3f}", name


@every_kind
def test_each_kind_has_its_own_figures_and_words(kind: str, written: Callable[[str], str]) -> None:
    page = written(kind)
    labels = [html.unescape(label) for label in re.findall(r'aria-label="([^"]*\d[^"]*)"', page)]
    titles = [label.partition(". ")[0] for label in labels if not label.startswith("Parts")]
    assert titles == [*FIGURES[kind], "Learning curves"]
    text = read_text(page)
    assert [word for word in FOREIGN[kind] if word in text] == []
    assert "nan" not in text.lower().split()


@every_kind
def test_names_from_a_table_are_text(kind: str, written: Callable[[str], str]) -> None:
    page = written(kind)
    assert "<script" not in page
    assert "\u202e" not in page
    assert html.escape(escape_controls(SCRIPT)) in page


def test_findings_are_counted_where_they_are_known(
    written: Callable[[str], str], runs_of_kinds: dict[str, Path]
) -> None:
    cells = re.findall(r'<tr><th scope="row">even</th>(.*?)</tr>', written("multilabel"))[0]
    labels = read_answers(runs_of_kinds["multilabel"])["label_even"].astype(str)
    counts = [int((labels == word).sum()) for word in ("1", "0", "")]
    assert sum(counts) == 40
    assert counts[2] == 8
    assert re.findall(r">(\d+)<", cells) == [str(count) for count in counts]
    assert f"{(counts[0] / 32):.3f} (" in cells


def test_a_numbers_limits_of_agreement_are_those_of_its_differences(
    written: Callable[[str], str], runs_of_kinds: dict[str, Path]
) -> None:
    answers = read_answers(runs_of_kinds["number"])
    error = answers["value"] - answers["label"]
    found = re.findall(
        r"Mean difference (\S+) years; limits of agreement (\S+) to (\S+) years\.",
        read_text(written("number")),
    )
    spread = 1.96 * error.std()
    wanted = [error.mean(), error.mean() - spread, error.mean() + spread]
    assert found
    for numbers in found:
        assert [float(number) for number in numbers] == pytest.approx(wanted, rel=1e-2)


@every_kind
def test_subgroups_are_a_table_with_the_largest_gap(
    kind: str, written: Callable[[str], str], runs_of_kinds: dict[str, Path]
) -> None:
    section = written(kind).partition('id="subgroups"')[2].partition("</section>")[0]
    results = json.loads((runs_of_kinds[kind] / "results.json").read_text())
    groups = {(group["column"], group["value"]): group for group in results["subgroups"]}
    assert len(groups) == 4
    small = re.findall(r'<th scope="row">small</th>(.*?)</tr>', section)[0]
    assert (small.count("too few") == 2) == (groups["site", "small"]["metrics"] is None)
    assert groups["site", "small"]["samples"] == 4
    assert "(empty)" in section
    headline = choose_report_kind(read_facts((runs_of_kinds[kind],), None, None).run).headline
    for (column, value), group in groups.items():
        if column == "sex" and group["metrics"]:
            mean = group["metrics"][headline]["mean"]
            assert f"{mean:.3f} (" in section
            assert f"{mean:.3f} for sex {escape_controls(value)}" in html.unescape(section)


@every_kind
def test_examples_say_what_is_true_and_what_was_predicted(
    kind: str, written: Callable[[str], str], runs_of_kinds: dict[str, Path]
) -> None:
    page = html.unescape(written(kind)).replace("\u00a0", " ")
    shown = re.findall(
        r'class="example (\w+)">\s*<img[^>]*>\s*<figcaption>.*?>(.*?)</span><br>(.*?)<', page
    )
    answers = read_answers(runs_of_kinds[kind])
    assert len(shown) >= 4
    for side, words, name in shown:
        line = answers.loc[name]
        if kind == "number":
            true, value = re.findall(r"true (\S+), predicted (\S+) years", words)[0]
            assert float(true) == line["label"]
            assert float(value) == pytest.approx(line["value"], rel=1e-2)
        elif kind == "multilabel":
            finding, truth, called = re.findall(r"(.*) (present|absent), called (\w+),", words)[0]
            column = next(c for c in KINDS[kind]["target"] if escape_controls(c) == finding)
            assert (truth == "present") == (float(line[f"label_{column}"]) == 1)
            assert (called == "present") == (line[f"p_{column}"] >= 0.5)
            assert (side == "right") == (truth == called)
        else:
            answer = re.findall(r"(?:recognised as|taken for) (\S+),", words)[0]
            assert (side == "right") == (answer == str(answers["label"].loc[name]))


@every_kind
def test_the_shown_command_asks_the_same_question(
    kind: str, runs_of_kinds: dict[str, Path], tmp_path: Path
) -> None:
    facts = read_facts((runs_of_kinds[kind],), None, None)
    line = next(c for c in make_commands(facts, tmp_path / "r.html") if " train " in c)
    assert "--by sex,site" in line
    command = cli.commands["train"]
    context = command.make_context("train", shlex.split(line)[2:])
    assert context.params["target"] == KINDS[kind]["target"]
    config = read_config(facts.run.config)
    assert isinstance(config, TrainConfig)
    assert config.task.labels == Path("labels.csv")
    assert config.task.kind == kind


@every_kind
def test_a_report_reads_alone(kind: str, runs_of_kinds: dict[str, Path], tmp_path: Path) -> None:
    before = tree(runs_of_kinds[kind])
    run = copied(runs_of_kinds[kind], tmp_path / "run", store="gone.zarr", store_from_run=None)
    written = write_report((run,), None, None, tmp_path / "page.html")
    assert written.no_store
    assert tree(runs_of_kinds[kind]) == before


def test_a_table_and_not_the_store_says_which_copies_contradict(
    runs_of_kinds: dict[str, Path],
) -> None:
    """Two copies of one file with the same class in the store, and other answers in the table."""
    facts = read_facts((runs_of_kinds["number"],), None, None)
    assert facts.store is not None
    samples = facts.store.samples.assign(sha256=[*"aa", *map(str, range(38))])
    store = type("Stored", (), {"samples": samples, "dataset": facts.store.dataset})
    told = {f.title: f for f in check_run(replace(facts, store=store))}  # type: ignore[arg-type]
    copies = told["1 image with contradicting labels"].items
    assert copies == (" = ".join(samples["id"][:2]),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leaks": [{"ids": ["a", "b"], "splits": ["train", "test"], "labels": [0, 7]}]}, ""),
        ({"subgroups": [{"column": "sex"}]}, "subgroups"),
        (
            {
                "subgroups": [
                    {
                        "column": "a", "value": "b", "samples": 1, "positives": 1, "negatives": 1,
                        "metrics": {"auc": {"mean": 0.5, "sd": None, "interval": None}},
                    }
                ]
            },
            "subgroups: expected the metrics mae, rmse",
        ),
    ],
)  # fmt: skip
def test_records_of_a_number_are_read_or_refused(
    changes: dict[str, Any], message: str, runs_of_kinds: dict[str, Path], tmp_path: Path
) -> None:
    """Labels of copies are strata, of which there are more than names."""
    run = copied(runs_of_kinds["number"], tmp_path / "run")
    write_results(run, json.loads((run / "results.json").read_text()) | changes)
    if message:
        with pytest.raises(ConfigError, match=message):
            read_facts((run,), None, None)
    else:
        read_facts((run,), None, None)
