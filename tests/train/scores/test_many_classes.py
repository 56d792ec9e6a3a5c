"""A thousand classes: the same metrics, in memory that grows with classes and not their powers."""

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tiny_extraction import Extract, write_npz
from trained_run import samcache

from samcache.train.model.discriminant import Discriminant
from samcache.train.scores import bootstrap
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.metrics import compute_macro_auc
from samcache.train.tasks.targets.classes import Classes

CLASSES, ROWS = 1000, 5_000
MEGABYTE = 1 << 20


@pytest.mark.slow
def test_a_thousand_classes_are_scored_as_scikit_learn_scores_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    scores = rng.random((ROWS, CLASSES), dtype=np.float32).round(2)
    scores[np.arange(ROWS), labels] += rng.random(ROWS, dtype=np.float32)
    scores /= scores.sum(axis=1, keepdims=True)
    names = tuple(f"class {k}" for k in range(CLASSES))
    tracemalloc.start()
    summaries = LabelledPredictions(
        labels, np.arange(ROWS), scores[None], Classes(names, True)
    ).summarise()
    auc = compute_macro_auc(labels, scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * MEGABYTE, f"{peak / MEGABYTE:.0f} MB"
    predicted = scores.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "f1": sk.f1_score(labels, predicted, average="macro"),
        "kappa": sk.cohen_kappa_score(labels, predicted, weights="quadratic"),
        "auc": auc,
    }
    areas = [summaries[f"auc:{name}"].mean for name in names]
    assert np.mean(areas) == pytest.approx(auc, abs=1e-12)
    for k in range(0, CLASSES, 100):
        one = labels == k, scores[:, k]
        expected[f"auc:{names[k]}"] = sk.roc_auc_score(*one)
        expected[f"ap:{names[k]}"] = sk.average_precision_score(*one)
    for name, value in expected.items():
        assert summaries[name].mean == pytest.approx(value, abs=1e-12), name
        interval = summaries[name].interval
        if interval is not None:  # where some resample has every class that the metric needs
            assert 0 <= interval.low <= interval.high <= 1


@pytest.mark.parametrize("shrinkage", [1e-3, 0.1, 1.0])
def test_the_discriminant_is_scikit_learns(shrinkage: float) -> None:
    rng = np.random.default_rng(1)
    labels = np.concatenate([np.arange(6), rng.integers(0, 6, 120)])
    features = rng.normal(size=(6, 9))[labels] + rng.normal(size=(126, 9))
    own = Discriminant(shrinkage).fit(features, labels)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(features, labels)
    np.testing.assert_allclose(
        own.predict_proba(features), theirs.predict_proba(features), atol=1e-5
    )


@pytest.mark.slow
def test_many_classes_are_trained_probed_and_reported_in_few_words(
    run_extract: Extract, tmp_path: Path
) -> None:
    source = write_npz(tmp_path / "many.npz", (390, 130, 130), classes=130)
    store = run_extract(source=source, shard_rows=64, batch_size=64, frame_size=16)[0].location
    run, page = tmp_path / "run", tmp_path / "page.html"
    options = ("--epochs", 1, "--seeds", "0,1", "--image-size", 16, "--attention", "none")
    trained = samcache(
        "train", store, "--out", run, *options, "--backbone", "timm:test_resnet", "-q"
    )
    assert trained.exit_code == 0, trained.output
    assert "and 110 more classes" in trained.stdout
    assert len(trained.stdout.splitlines()) < 70
    results = json.loads((run / "results.json").read_text())
    assert sum(name.startswith("auc:") for name in results["fractions"][0]["metrics"]) == 130
    probed = samcache("probe", store)
    assert len(re.findall(r"^\S+ +LDA s=", probed.stdout, re.MULTILINE)) == 7
    assert max(map(len, probed.stdout.splitlines())) <= 80
    assert samcache("report", run, "--out", page).exit_code == 0
    text = page.read_text()
    assert "results.json has 110 more classes" in text
    assert "Confused classes" in text
    assert len(text) < 3_000_000
    for words in (("evaluate", run, store), ("compare", run), ("cache", "info", store)):
        shown = samcache(*words)
        assert shown.exit_code == 0
        assert len(shown.stdout.splitlines()) < 70
