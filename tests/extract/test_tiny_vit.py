"""MobileSAM's and LiteMedSAM's levels, real weights, against values of the original code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_input import sampled, wave

from samcache.cache.errors import CheckpointError
from samcache.extract.encoders import LEVELS, load_encoder

REFERENCES = Path(__file__).with_name("references.npz")


@pytest.mark.parametrize(
    ("encoder", "file", "size"),
    [("vit_t", "mobile_sam.pt", 1024), ("vit_t_med", "lite_medsam.pth", 256)],
)
def test_levels_equal_the_original_codes(
    real_weights: Path, encoder: str, file: str, size: int
) -> None:
    loaded = load_encoder(encoder, real_weights / file, LEVELS)
    assert loaded.image_size == size
    with torch.inference_mode():
        maps = loaded.model(wave(size))
    with np.load(REFERENCES, allow_pickle=False) as references:
        for level in LEVELS:
            values = maps[level]
            assert tuple(values.shape[1:]) == loaded.shapes[level]
            expected = references[f"{encoder}/{level}"]
            assert np.abs(sampled(values) - expected).max() <= 1e-4, level


def test_other_input_sizes_work(real_weights: Path) -> None:
    loaded = load_encoder("vit_t", real_weights / "mobile_sam.pt", LEVELS, 112)
    with torch.inference_mode():
        maps = loaded.model(wave(112))
    assert {level: tuple(m.shape[1:]) for level, m in maps.items()} == loaded.shapes
    assert loaded.shapes["neck"] == (256, 7, 7)


def test_the_other_encoders_file_is_recognised(real_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"SHA-256 is that of lite_medsam\.pth"):
        load_encoder("vit_t", real_weights / "lite_medsam.pth", LEVELS)
