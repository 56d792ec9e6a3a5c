"""MobileSAM's and LiteMedSAM's levels, real weights, against values of the original code."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_input import sampled, wave
from tiny_encoder import random_weights
from torch import nn

from samcache.cache.errors import CheckpointError
from samcache.extract.encoders.load import load_encoder, resolve_levels
from samcache.extract.encoders.networks.tiny_vit import TinyViTLevels
from samcache.extract.encoders.registry import LEVELS, find_architecture

REFERENCES = Path(__file__).with_name("references.npz")


@pytest.mark.parametrize(
    ("encoder", "file", "size"),
    [("vit_t", "mobile_sam.pt", 1024), ("vit_t_med", "lite_medsam.pth", 256)],
)
def test_levels_equal_the_original_codes(
    real_weights: Path, encoder: str, file: str, size: int
) -> None:
    loaded = load_encoder(find_architecture(encoder), real_weights / file, LEVELS)
    assert loaded.image_size == size
    with torch.inference_mode():
        maps = loaded.model(wave(size))
    with np.load(REFERENCES, allow_pickle=False) as references:
        for level in LEVELS:
            values = maps[level]
            assert tuple(values.shape[1:]) == loaded.shapes[level]
            expected = references[f"{encoder}/{level}"]
            error = np.abs(sampled(values) - expected).max()
            assert error <= 1e-5 * np.abs(expected).max(), level


@pytest.mark.parametrize("patch_stride", [4, 1])
def test_prepared_for_inference_the_numbers_are_timms(patch_stride: int) -> None:
    levels = resolve_levels(find_architecture("vit_t"), LEVELS)
    original = TinyViTLevels(levels, patch_stride).eval()
    weights = random_weights(original, seed=0)
    weights |= {name: w.abs() + 0.5 for name, w in weights.items() if name.endswith("_var")}
    original.load_state_dict(weights)
    prepared = deepcopy(original)
    prepared.prepare(torch.float32)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    x = torch.randn(2, 3, 18 * patch_stride, 18 * patch_stride)
    with torch.inference_mode():
        expected, found = original(x), prepared(x)
    for level in LEVELS:
        error = (found[level] - expected[level]).abs().max()
        assert error <= 1e-5 * expected[level].abs().max(), level


def test_lower_precision_keeps_the_maps_within_its_rounding() -> None:
    levels = resolve_levels(find_architecture("vit_t"), LEVELS)
    original = TinyViTLevels(levels).eval()
    prepared = deepcopy(original)
    prepared.prepare(torch.bfloat16)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, found = original(x), prepared(x)
    assert (found["patch"].dtype, found["late"].dtype) == (torch.float32, torch.bfloat16)
    for level in LEVELS:
        error = (found[level] - expected[level]).abs().max()
        assert error <= 0.05 * expected[level].abs().max(), level


def test_other_input_sizes_work(real_weights: Path) -> None:
    loaded = load_encoder(find_architecture("vit_t"), real_weights / "mobile_sam.pt", LEVELS, 112)
    with torch.inference_mode():
        maps = loaded.model(wave(112))
    assert {level: tuple(m.shape[1:]) for level, m in maps.items()} == loaded.shapes
    assert loaded.shapes["neck"] == (256, 7, 7)


def test_the_other_encoders_file_is_recognised(real_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the file is lite_medsam\.pth of vit_t_med"):
        load_encoder(find_architecture("vit_t"), real_weights / "lite_medsam.pth", LEVELS)
