"""A small store with hostile names and runs trained from it, made once for all tests of reports."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.train.config import TrainConfig
from samcache.train.report.facts import ReportedRun
from samcache.train.run import train
from samcache.train.scores.intervals import Interval, Summary

SCRIPT = "<script>alert(1)</script>\u202e"  # what follows would be read from right to left
DOLLAR = '_naevus $x$ & "y"'
EVIL_FILE = "<img src=x onerror=alert(2)>.png"


@dataclass(frozen=True)
class ReportedRuns:
    """The store, and runs from it: of SLCA with two fractions, of none, of folds, of one seed."""

    store: Path
    slca: Path
    none: Path
    folds: Path
    single: Path


@pytest.fixture(scope="session")
def reported_runs(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> ReportedRuns:
    """Forty images of two classes, one test image a copy of a training image, one unreadable."""
    root = tmp_path_factory.mktemp("reported")
    store = root / "toy.zarr"
    options = ExtractOptions(
        _manifest(root / "images"), store, "vit_tiny", checkpoint, pool=2, batch_size=8
    )
    extract(options)
    made = ReportedRuns(store, *(root / name for name in ("slca", "none", "folds", "single")))
    torch.set_num_threads(1)
    train(_config(made.store, made.slca, fractions=(0.5, 1.0)))
    train(_config(made.store, made.none, fractions=(0.5, 1.0), attention="none", epochs=1))
    train(_config(made.store, made.folds, folds=2, seeds=(3,), epochs=1))
    train(_config(made.store, made.single, seeds=(3,), epochs=1, join=True))
    return made


def _config(store: Path, out: Path, **options: object) -> TrainConfig:
    common = {"epochs": 2, "seeds": (0, 1), "image_size": 32, "batch_size": 8}
    return TrainConfig(store, out, backbone="timm:test_resnet", **{**common, **options})  # type: ignore[arg-type]


def _manifest(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(3)
    lines = []
    for place in range(40):
        split = "train" if place < 24 else "val" if place < 30 else "test"
        name = EVIL_FILE if place == 30 else f"{split}-{place}.png"
        bright = 12 * (place % 2)  # hard enough for some mistakes
        pixels = (rng.integers(0, 120, (20, 20)) + bright).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        lines.append({"file": name, "class": (SCRIPT, DOLLAR)[place % 2], "split": split})
    (folder / "test-39.png").write_bytes((folder / "train-1.png").read_bytes())
    (folder / "train-2.png").write_bytes(b"no image")
    pd.DataFrame(lines).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def with_classes(run: ReportedRun, names: tuple[str, ...]) -> ReportedRun:
    """The run as if it had these classes, with likely answers drawn at random."""
    rng, count = np.random.default_rng(0), len(names)
    labels = np.arange(6 * count) % count
    tables = []
    for seed in run.seeds:
        logits = rng.normal(size=(len(labels), count)) + 3 * np.eye(count)[labels]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame(p, columns=[f"p_{name}" for name in names])
        table["label"] = [names[label] for label in labels]
        ids = [f"{row:04}" for row in range(len(labels))]
        tables.append(table.assign(seed=seed, id=ids, group="", fold=""))
    scored = [f"{kind}:{name}" for kind in ("auc", "ap") for name in names]
    scored += ["auc", "accuracy", "balanced_accuracy", "f1", "ece"]
    metrics = dict.fromkeys(scored, Summary(0.5, 0.01, Interval(0.4, 0.6, 9)))
    scores = replace(run.scores, metrics=metrics, ensemble=metrics, test_samples=len(labels))
    known = replace(run.run, config={**run.config, "classes": list(names)})
    return replace(run, run=known, tests={1.0: pd.concat(tables)}, fractions=(scores,))
