"""Controls change the features' place, content or resolution, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from loading import find_sides, load_scaled
from shown import text_of
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.commands.show.trainings import describe_results
from samcache.extract.encoders.registry import LEVELS
from samcache.train.config import TrainConfig
from samcache.train.data.controls import exchange_features, fill_with_noise
from samcache.train.data.dataset import TrainingData
from samcache.train.data.scaling import scale_inputs
from samcache.train.model.pooling import divide_by_kernel
from samcache.train.run import train
from samcache.train.runs.write_run import Results
from samcache.train.tasks.question import Question
from samcache.train.tasks.splits import plan_members


@pytest.fixture
def data(store: Store) -> TrainingData:
    return load_scaled(store, divide_by_kernel(store, LEVELS, 4), 32)


def quick(store: Store, out: Path, **changes: object) -> Results:
    options = {"epochs": 1, "seeds": (0, 1), "image_size": 32, "batch_size": 8}
    config = TrainConfig(
        store.location,
        out,
        backbone="timm:test_resnet",
        **{**options, **changes},  # type: ignore[arg-type]
    )
    return train(config)


def test_shuffled_features_are_anothers_of_the_same_part(data: TrainingData) -> None:
    first, second = plan_members(Question.of_classes(data.samples, data.target.names), (0, 1))
    shuffled = exchange_features(data, first)
    for rows in (first.train, first.val, first.test):
        assert shuffled.feature_rows is not None
        given = shuffled.feature_rows[rows]
        assert (given != rows).all()
        assert sorted(given.tolist()) == rows.tolist()
    rows = first.test
    _, maps = shuffled.make_inputs(rows)
    _, others = data.make_inputs(given)
    assert all(torch.equal(maps[level], others[level]) for level in LEVELS)
    assert torch.equal(shuffled.make_inputs(rows)[0], data.make_inputs(rows)[0])
    again, other = (exchange_features(data, member).feature_rows for member in (first, second))
    assert again is not None
    assert other is not None
    assert torch.equal(again, shuffled.feature_rows)
    assert not torch.equal(again, other)


def noise_like(data: TrainingData) -> TrainingData:
    """The noise for a copy of the data."""
    pooled = {level: maps.clone() for level, maps in data.pooled.items()}
    noisy = replace(data, pooled=pooled)
    fill_with_noise(noisy)
    return noisy


def test_random_features_have_the_channels_mean_and_deviation(data: TrainingData) -> None:
    noisy, again = noise_like(data), noise_like(data)
    for level, maps in data.pooled.items():
        noise = noisy.pooled[level]
        assert noise.dtype == maps.dtype
        assert noise.shape == maps.shape
        found, wanted = (m.double().transpose(0, 1).flatten(1) for m in (noise, maps))
        error = wanted.std(dim=1) / np.sqrt(wanted.shape[1])
        assert ((found.mean(dim=1) - wanted.mean(dim=1)).abs() < 5 * error + 1e-3).all()
        np.testing.assert_allclose(found.std(dim=1), wanted.std(dim=1), rtol=0.5)
        both = torch.corrcoef(torch.stack([noise.flatten(), maps.flatten()]).double())
        own = maps.double().mean(dim=(0, 2, 3), keepdim=True)
        centred = torch.stack([(noise - own).flatten(), (maps - own).flatten()])
        assert abs(float(torch.corrcoef(centred)[0, 1])) < 0.1 <= float(both[0, 0])
    assert torch.equal(again.pooled["neck"], noisy.pooled["neck"])
    assert torch.equal(noisy.images, data.images)


def test_global_attention_sees_the_mean_of_each_map(store: Store, data: TrainingData) -> None:
    config = TrainConfig(store.location, Path("out"), attention="global")
    whole = load_scaled(store, find_sides(config, store), 32)
    for level, maps in whole.pooled.items():
        assert maps.shape[2:] == (1, 1)
        expected = data.pooled[level].float().mean(dim=(2, 3))
        np.testing.assert_allclose(maps[:, :, 0, 0].float(), expected, atol=2e-3)


def test_per_location_needs_maps_that_were_not_pooled(run_extract: Extract) -> None:
    config = TrainConfig("store", Path("out"), attention="per-location")
    pooled, _ = run_extract("pooled")
    with pytest.raises(
        ConfigError, match=r"pooled by 2: extract the store with pool 1; .* kernel 2"
    ):
        find_sides(config, pooled)
    whole = run_extract("whole", pool=1)[0]
    assert find_sides(config, whole) == divide_by_kernel(whole, whole.identity.levels, 1)


@pytest.mark.parametrize("attention", ["shuffled", "random", "global"])
def test_every_control_trains(store: Store, tmp_path: Path, attention: str) -> None:
    results = quick(store, tmp_path / "run", attention=attention, seeds=(0,))
    assert 0 <= results.members[0].scores["auc"] <= 1
    assert (tmp_path / "run" / "seed-0.safetensors").exists()


def test_statistics_are_those_of_the_rows_that_are_trained_on(run_extract: Extract) -> None:
    store, _ = run_extract(pool=1, dtype="float32")
    rows = torch.tensor([1, 4, 30, 39])
    data = scale_inputs(load_scaled(store, divide_by_kernel(store, LEVELS, 1), 32), store, rows)
    images, maps = data.make_inputs(rows)
    for values in (value.numpy() for value in (images, *maps.values())):
        np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1, rtol=1e-3)


def test_folds_and_fractions_in_one_run(store: Store, tmp_path: Path) -> None:
    results = quick(store, tmp_path / "run", folds=2, fractions=(0.5, 1.0))
    assert len(results.members) == 2 * 2 * 2
    assert [scores.fraction for scores in results.fractions] == [0.5, 1.0]
    assert [scores.test_samples for scores in results.fractions] == [40, 40]
    half, whole = (scores.train_samples for scores in results.fractions)
    assert half == pytest.approx(whole / 2, abs=1)
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    tested = table[table["split"] == "test"].groupby(["seed", "fraction"])
    assert all(sorted(part["id"]) == sorted(set(table["id"])) for _, part in tested)
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["members"][3]["fold"] == 1
    assert (tmp_path / "run" / "seed-1-fold-1-fraction-0.5.safetensors").exists()
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) == 8
    lines = text_of(describe_results(results)).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["0.5", "9"] or "0.5" in line for line in lines)
