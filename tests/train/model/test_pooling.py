"""Pooling before caching changes nothing that training sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loading import find_sides, load_scaled
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.extract.encoders.registry import LEVELS
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.data.spreads import name_spread
from samcache.train.fit.build import build_classifier
from samcache.train.model.pooling import choose_coarsest, divide_by_kernel


def attention_maps(data: TrainingData, kernel: int) -> dict[str, torch.Tensor]:
    """Every level's attention for every sample, from one seed's untrained classifier."""
    config = TrainConfig(store=None, out=None, kernel=kernel, reduction=4)  # type: ignore[arg-type]
    taps = config.resolve_taps(LEVELS)
    torch.manual_seed(0)
    model = build_classifier(config, data, taps)
    rows = torch.arange(len(data.labels))
    _, maps = data.make_inputs(rows)
    with torch.no_grad():
        return {level: model.attention[level].compute_attention(maps[level]) for level in LEVELS}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3)])
def test_pooled_and_unpooled_stores_give_the_same_attention(
    run_extract: Extract, dtype: str, tolerance: float
) -> None:
    maps = {}
    for pool in (1, 4):
        store, _ = run_extract(f"pool{pool}", pool=pool, dtype=dtype)
        maps[pool] = attention_maps(
            load_scaled(store, divide_by_kernel(store, LEVELS, 4), 32), kernel=4
        )
    for level in LEVELS:
        assert maps[1][level].shape == maps[4][level].shape
        assert (maps[1][level] - maps[4][level]).abs().max() <= tolerance, level


@pytest.mark.parametrize(("kernel", "message"), [(3, "pooled by 2"), (8, "4 cells wide")])
def test_a_kernel_that_does_not_fit_the_store_is_refused(
    run_extract: Extract, kernel: int, message: str
) -> None:
    store, _ = run_extract()
    with pytest.raises(ConfigError, match=message):
        load_scaled(store, divide_by_kernel(store, LEVELS, kernel), 32)


def test_standardised_maps_of_the_training_split_have_unit_scale(run_extract: Extract) -> None:
    store, _ = run_extract(pool=1, dtype="float32")
    data = load_scaled(store, divide_by_kernel(store, LEVELS, 1), 32)
    images, maps = data.make_inputs(data.find_rows("train"))
    for values in (value.numpy() for value in (images, *maps.values())):
        np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1, rtol=1e-3)


def test_without_a_kernel_maps_are_no_finer_than_what_they_gate(run_extract: Extract) -> None:
    store, _ = run_extract(pool=1)
    stored = divide_by_kernel(store, LEVELS, 1)
    options = {"backbone": "resnet18", "image_size": 64}
    config = TrainConfig(store.location, Path("out"), **options)  # type: ignore[arg-type]
    stages = {"patch": 16, "early": 16, "middle": 8, "late": 4, "neck": 4}  # 4 at least
    assert find_sides(config, store) == {
        level: min(stored[level], stage) for level, stage in stages.items()
    }
    assert find_sides(replace(config, attention="none"), store) == {}


def test_a_joined_head_is_given_the_spreads_of_what_gates_or_would_gate(
    run_extract: Extract,
) -> None:
    store, _ = run_extract(pool=1)
    config = TrainConfig(store.location, Path("out"), taps=("late:stage3", "neck:stage4"))
    spreads = {name_spread("late"): 1, name_spread("neck"): 1}
    joined = find_sides(replace(config, join=True), store)
    assert joined == find_sides(config, store) | spreads
    head = replace(config, attention="none", taps=None, join=True)
    assert find_sides(head, store) == {name_spread(level): 1 for level in LEVELS}


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_map_is_averaged_over_equal_blocks_and_not_below_what_is_needed(
    side: int, least: int
) -> None:
    cells = choose_coarsest(side, least)
    assert side % cells == 0
    assert cells >= min(side, least)
    assert not [c for c in range(least, cells) if side % c == 0], "none coarser would do"
