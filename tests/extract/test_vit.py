"""SAM's ViT levels against segment_anything's own encoder with the same seeded random weights."""

from pathlib import Path

import pytest
import torch
from segment_anything.modeling.image_encoder import ImageEncoderViT, get_rel_pos
from tiny_encoder import random_weights
from torch import Tensor

from samcache.cache.errors import CheckpointError, ConfigError
from samcache.extract.encoders import ARCHITECTURES, LEVELS, load_encoder, resolve_levels
from samcache.extract.vit import build_vit, fit_vit_weights

VIT_B = (768, 12, 12, (2, 5, 8, 11))


def reference_maps(encoder: ImageEncoderViT, x: Tensor) -> dict[str, Tensor]:
    """The package's own forward pass, listened to."""
    maps = {}
    for name, number in (("early", 2), ("middle", 5), ("late", 11)):
        encoder.blocks[number].register_forward_hook(
            lambda _, __, out, name=name: maps.update({name: out.permute(0, 3, 1, 2)})
        )
    encoder.blocks[0].register_forward_pre_hook(
        lambda _, args: maps.update(patch=args[0].permute(0, 3, 1, 2))
    )
    maps["neck"] = encoder(x)
    return maps


@pytest.mark.slow
@pytest.mark.parametrize("size", [1024, 256])
def test_vit_b_levels_equal_the_packages(tmp_path: Path, size: int) -> None:
    own = build_vit(size, *VIT_B)
    weights = random_weights(own, seed=0)
    own.load_state_dict(weights)
    torch.save({f"image_encoder.{name}": w for name, w in weights.items()}, tmp_path / "b.pth")
    encoder = load_encoder("vit_b", tmp_path / "b.pth", LEVELS, size)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference_maps(own.eval(), x)
        found = encoder.model(x)
    assert list(found) == list(LEVELS)
    for level in LEVELS:
        assert tuple(found[level].shape[1:]) == encoder.shapes[level]
        assert (found[level] - expected[level]).abs().max() <= 1e-4, level


def test_relative_positions_are_resampled_as_segment_anything_does(checkpoint: Path) -> None:
    native = torch.load(checkpoint, weights_only=True)
    weights = {name.removeprefix("image_encoder."): w for name, w in native.items()}
    small = build_vit(32, 32, 4, 2, (0, 1, 3))
    fitted = fit_vit_weights(weights, small)
    small.load_state_dict(fitted)
    for name in ("rel_pos_h", "rel_pos_w"):
        stored, resampled = weights[f"blocks.0.attn.{name}"], fitted[f"blocks.0.attn.{name}"]
        torch.testing.assert_close(get_rel_pos(2, 2, stored), get_rel_pos(2, 2, resampled))
        windowed = f"blocks.2.attn.{name}"
        assert fitted[windowed] is weights[windowed], "windows keep their size"
    assert fitted["pos_embed"].shape == (1, 2, 2, 32)


def test_resampling_to_the_native_size_changes_nothing(checkpoint: Path) -> None:
    native = torch.load(checkpoint, weights_only=True)
    weights = {name.removeprefix("image_encoder."): w for name, w in native.items()}
    fitted = fit_vit_weights(weights, build_vit(64, 32, 4, 2, (0, 1, 3)))
    assert all(fitted[name] is weight for name, weight in weights.items())


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_levels_are_a_quarter_half_and_end_of_the_depth(name: str) -> None:
    levels = resolve_levels(name, LEVELS)
    depth = ARCHITECTURES[name].depth
    assert (levels["early"], levels["middle"], levels["late"]) == (
        depth // 4 - 1,
        depth // 2 - 1,
        depth - 1,
    )


def test_block_numbers_stand_in_the_order_of_depth(checkpoint: Path) -> None:
    encoder = load_encoder("vit_tiny", checkpoint, ("neck", "2", "patch"), 64)
    assert list(encoder.shapes) == ["patch", "block2", "neck"]
    with torch.inference_mode():
        assert set(encoder.model(torch.zeros(1, 3, 64, 64))) == {"patch", "block2", "neck"}


def test_blocks_deeper_than_asked_are_not_run(checkpoint: Path) -> None:
    encoder = load_encoder("vit_tiny", checkpoint, ("patch", "early"), 64)
    encoder.model.encoder.blocks[1].register_forward_hook(lambda *_: pytest.fail("block 1 was run"))
    with torch.inference_mode():
        encoder.model(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (("patch", "head"), "no level 'head'"),
        (("4",), "from 0 to 3"),
        (("early", "0"), "names a level twice"),
        (("neck", "neck"), "names a level twice"),
    ],
)
def test_wrong_levels_are_refused(levels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_levels("vit_tiny", levels)


def test_wrong_sizes_and_checkpoints_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        load_encoder("vit_tiny", checkpoint, LEVELS, 72)
    with pytest.raises(CheckpointError, match="does not fit --encoder vit_b"):
        load_encoder("vit_b", checkpoint, LEVELS, 64)
    with pytest.raises(CheckpointError, match="does not fit --encoder vit_t:"):
        load_encoder("vit_t", checkpoint, LEVELS, 64)
