"""Runs of the version before tasks, and their store: read, tested and compared as then.

The archive holds a store of the tiny encoder (random weights), a run of one seed, and a run of
graded classes in folds without its weights.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from samcache.cache.store import Store
from samcache.cli import cli
from samcache.train.compare import compare
from samcache.train.evaluate import evaluate
from samcache.train.runs.ensemble import open_predictor
from samcache.train.runs.run import open_run
from samcache.train.scores.intervals import Interval


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("runs_before_tasks.zip")) as file:
        file.extractall(tmp_path)
    return tmp_path


def test_its_predictions_are_the_same(older: Path) -> None:
    run, store = open_predictor(older / "run"), Store(older / "toy.zarr")
    assert (run.target.kind, run.target.names) == ("class", ("0", "1"))
    found, predictions = evaluate(run, store, "test", "cpu")
    recorded = pd.read_csv(older / "run" / "predictions.csv", dtype={"label": str})
    tested = recorded[recorded["split"] == "test"].reset_index(drop=True)
    assert list(predictions["id"]) == list(tested["id"])
    np.testing.assert_allclose(predictions[["p_0", "p_1"]], tested[["p_0", "p_1"]], atol=1e-5)
    (scores,) = run.results["fractions"]
    for name, summary in found.metrics.items():
        assert summary.mean == pytest.approx(scores["metrics"][name]["mean"], abs=1e-5)


# By today's method: the recorded ones are percentiles of an earlier version.
INTERVALS = {
    ("run", "auc"): Interval(1.0, 1.0, 0),
    ("run", "ece"): Interval(pytest.approx(0.3898849), pytest.approx(0.4706172), 2000),
    ("ordered", "kappa"): Interval(pytest.approx(0.3405737), pytest.approx(0.9927596), 2000),
    ("ordered", "accuracy"): Interval(pytest.approx(0.6739696), pytest.approx(0.9926970), 2000),
}


def test_its_scores_are_recomputed_as_recorded(older: Path) -> None:
    for name, metrics in {"run": ("auc", "ece"), "ordered": ("kappa", "accuracy")}.items():
        run = open_run(older / name)
        (scores,) = run.results["fractions"]
        for row in compare((older / name,), None, metrics).rows:
            recorded = scores["metrics"][row.metric]
            assert row.summary.mean == pytest.approx(recorded["mean"], abs=1e-7)
            assert row.summary.interval == INTERVALS[name, row.metric]


def test_it_is_reported_and_predicts(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(older)
    for words in (
        ["report", "run", "--out", "report.html"],
        ["report", "ordered", "--out", "graded.html"],
        ["predict", "run", "toy.zarr", "--out", "found.json", "--json"],
    ):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
    assert json.loads((older / "found.json").read_text())["classes"] == ["0", "1"]
