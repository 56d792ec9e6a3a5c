"""The main job on a few real images with real weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import trained_run

from samcache.cache.store import Store

pytestmark = pytest.mark.slow


def samcache(*words: object) -> str:
    done = trained_run.samcache(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("dataset", "encoder", "file", "size"),
    [
        ("breastmnist.npz", "vit_t", "mobile_sam.pt", 128),
        ("isic2017_256/labels.csv", "vit_t_med", "lite_medsam.pth", 64),
    ],
)
def test_extract_info_and_train_on_real_images(
    real_data: Path,
    real_weights: Path,
    tmp_path: Path,
    dataset: str,
    encoder: str,
    file: str,
    size: int,
) -> None:
    store, run = tmp_path / "real.zarr", tmp_path / "run"
    words = ["extract", real_data / dataset, "--store", store, "--encoder", encoder]
    words += ["--checkpoint", real_weights / file, "--image-size", size, "--limit", 60]
    assert "60 images in the store, 60 encoded" in samcache(*words)
    assert "60 images in the store, 0 encoded" in samcache(*words)
    info = json.loads(samcache("cache", "info", store, "--json"))
    assert info["readable"] == 60
    opened = Store(store)
    for level in opened.identity.levels:
        values = opened.read_features(level, 0, 60).astype(np.float32)
        assert np.isfinite(values).all()
        assert values.std() > 0.01, f"{level} says nothing"
    samcache("train", store, "--out", run, "--epochs", 1, "--seeds", "0", "--image-size", 32)
    (scores,) = json.loads((run / "results.json").read_text())["fractions"]
    assert 0 <= scores["metrics"]["auc"]["mean"] <= 1
