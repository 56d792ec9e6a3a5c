"""Pooling before caching changes nothing that training sees."""

import numpy as np
import pytest
import torch
from conftest import Extract

from samcache.cache.errors import ConfigError
from samcache.extract.encoders import LEVELS
from samcache.train.config import TrainConfig
from samcache.train.data import TrainingData, load_training_data
from samcache.train.loop import build_classifier


def attention_maps(data: TrainingData, kernel: int) -> dict[str, torch.Tensor]:
    """Every level's attention for every sample, from one seed's untrained classifier."""
    config = TrainConfig(store=None, out=None, kernel=kernel, reduction=4)  # type: ignore[arg-type]
    taps = config.tapped(LEVELS)
    torch.manual_seed(0)
    model = build_classifier(config, data, taps)
    rows = torch.arange(len(data.labels))
    _, maps = data.inputs(rows)
    with torch.no_grad():
        return {level: model.attention[level].attention(maps[level]) for level in LEVELS}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3)])
def test_pooled_and_unpooled_stores_give_the_same_attention(
    run_extract: Extract, dtype: str, tolerance: float
) -> None:
    maps = {}
    for pool in (1, 4):
        store, _ = run_extract(f"pool{pool}", pool=pool, dtype=dtype)
        maps[pool] = attention_maps(load_training_data(store, LEVELS, 4, 32), kernel=4)
    for level in LEVELS:
        assert maps[1][level].shape == maps[4][level].shape
        assert (maps[1][level] - maps[4][level]).abs().max() <= tolerance, level


@pytest.mark.parametrize(("kernel", "message"), [(3, "pooled by 2"), (8, "4 cells wide")])
def test_a_kernel_that_does_not_fit_the_store_is_refused(
    run_extract: Extract, kernel: int, message: str
) -> None:
    store, _ = run_extract()
    with pytest.raises(ConfigError, match=message):
        load_training_data(store, LEVELS, kernel, 32)


def test_standardised_maps_of_the_training_split_have_unit_scale(run_extract: Extract) -> None:
    store, _ = run_extract(pool=1, dtype="float32")
    data = load_training_data(store, LEVELS, 1, 32)
    images, maps = data.inputs(data.rows("train"))
    for values in (value.numpy() for value in (images, *maps.values())):
        np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1, rtol=1e-3)
