"""SAM's ViT levels against segment_anything's own encoder with the same seeded random weights."""

from functools import partial
from pathlib import Path

import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling.image_encoder import Block, ImageEncoderViT, get_rel_pos
from tiny_encoder import random_weights
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from samcache.cache.errors import CheckpointError, ConfigError
from samcache.extract.encoders.base import Levels
from samcache.extract.encoders.load import load_encoder, resolve_levels
from samcache.extract.encoders.networks.attention import (
    attend_augmented,
    attend_in_blocks,
    compile_block,
    run_block,
)
from samcache.extract.encoders.networks.vit import build_vit, fit_vit_weights
from samcache.extract.encoders.registry import LEVELS, find_architecture


def reference_maps(encoder: ImageEncoderViT, x: Tensor, levels: Levels) -> dict[str, Tensor]:
    """The package's own forward pass, listened to."""
    maps = {}
    for name, number in levels.items():
        if name in ("patch", "neck"):
            continue
        encoder.blocks[number].register_forward_hook(
            lambda _, __, out, name=name: maps.update({name: out.permute(0, 3, 1, 2)})
        )
    encoder.blocks[0].register_forward_pre_hook(
        lambda _, args: maps.update(patch=args[0].permute(0, 3, 1, 2))
    )
    maps["neck"] = encoder(x)
    return maps


@pytest.mark.parametrize("size", [64, 112, 336])
def test_levels_equal_the_packages(checkpoint: Path, size: int) -> None:
    """Also at sizes that position embeddings are resampled to, and with windows cut at borders."""
    encoder = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS, size)
    native = torch.load(checkpoint, weights_only=True)
    weights = {name.removeprefix("image_encoder."): w for name, w in native.items()}
    own = build_vit(size, 32, 4, 2, (0, 1, 3))
    own.load_state_dict(fit_vit_weights(weights, own))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference_maps(own.eval(), x, encoder.levels)
        found = encoder.model(x)
    assert list(found) == list(LEVELS)
    for level in LEVELS:
        assert tuple(found[level].shape[1:]) == encoder.shapes[level]
        error = (found[level] - expected[level]).abs().max()
        assert error <= 1e-5 * expected[level].abs().max(), level


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_architectures_are_the_packages(name: str) -> None:
    with torch.device("meta"):
        package = sam_model_registry[name]().image_encoder
        own = find_architecture(name).build(1024, {}).encoder
    shapes = [{key: w.shape for key, w in e.state_dict().items()} for e in (package, own)]
    assert shapes[0] == shapes[1]
    for theirs, ours in zip(package.blocks, own.blocks, strict=True):
        assert theirs.window_size == ours.window_size
        assert theirs.attn.num_heads == ours.attn.num_heads
        assert theirs.norm1.eps == ours.norm1.eps


def make_block(side: tuple[int, int], window: int, dim: int = 32, heads: int = 2) -> Block:
    block = Block(dim, heads, use_rel_pos=True, window_size=window, input_size=side)
    block.load_state_dict(random_weights(block, seed=2))
    return block.eval().requires_grad_(False)


@pytest.mark.parametrize("window", [0, 14])
@pytest.mark.parametrize("side", [(1, 1), (5, 5), (14, 14), (9, 17), (28, 30), (33, 16)])
def test_a_block_equals_the_packages(side: tuple[int, int], window: int) -> None:
    block = make_block(side, window)
    x = torch.randn(3, *side, 32)
    torch.testing.assert_close(run_block(block, x), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [0, 14])
def test_a_block_equals_the_packages_at_1024_pixels(window: int) -> None:
    block = make_block((64, 64), window, dim=160, heads=2)  # ViT-H's head dimension
    x = torch.randn(1, 64, 64, 160)
    torch.testing.assert_close(run_block(block, x), block(x), rtol=1e-5, atol=2e-5)


def test_both_ways_of_attention_agree_with_the_bias_written_out() -> None:
    rows, columns = torch.randn(6, 300, 20), torch.randn(6, 300, 15)
    q, k, v = torch.randn(3, 6, 300, 10)
    bias = (rows[..., None] + columns[..., None, :]).flatten(2)
    expected = (0.4 * q @ k.mT + bias).softmax(-1) @ v
    for attend in (attend_in_blocks, attend_augmented, partial(attend_augmented, heads=3)):
        torch.testing.assert_close(attend(q, k, v, rows, columns, 0.4), expected)


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [(torch.float64, 1e-13), (torch.bfloat16, 0.02), (torch.float16, 0.002)],
)
def test_a_mask_in_pieces_fits_every_dtype(dtype: torch.dtype, largest: float) -> None:
    """Given a mask of a dtype that it does not expect, torch's attention goes wrong silently."""
    given = [torch.randn(6, 300, n).to(dtype) for n in (10, 10, 10, 20, 15)]
    q, k, v, rows, columns = (part.double() for part in given)
    bias = (rows[..., None] + columns[..., None, :]).flatten(2)
    expected = (0.4 * q @ k.mT + bias).softmax(-1) @ v
    found = attend_in_blocks(*given, 0.4)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=largest)


def test_many_heads_are_attended_to_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns, (q, k, v) = (
        torch.randn(7, 12, 4),
        torch.randn(7, 12, 3),
        torch.randn(3, 7, 12, 8),
    )
    expected = attend_in_blocks(q, k, v, rows, columns, 0.3)
    monkeypatch.setattr("samcache.extract.encoders.networks.attention._SCORES", 3 * 12 * 5)
    monkeypatch.setattr("samcache.extract.encoders.networks.attention._QUERIES", 5)
    torch.testing.assert_close(attend_in_blocks(q, k, v, rows, columns, 0.3), expected)


def test_one_compiled_block_of_a_kind_serves_batches_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, but for the code that is made of it."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    as_on_a_gpu = partial(attend_augmented, heads=2)
    monkeypatch.setattr(
        "samcache.extract.encoders.networks.attention.attend_in_blocks", as_on_a_gpu
    )
    torch._dynamo.reset()
    step = compile_block.__wrapped__()
    blocks = build_vit(256, 32, 6, 2, (2, 5)).blocks  # of two kinds: windows and all tokens
    with torch.inference_mode():
        for count in (4, 2, 3):
            x = torch.randn(count, 16, 16, 32)
            for block in blocks:
                torch.testing.assert_close(step(block, x), run_block(block, x))
    assert counter.frame_count == 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_keeps_the_maps_within_its_rounding(
    checkpoint: Path, precision: str
) -> None:
    full = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS)
    lower = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS, precision=precision)
    block = lower.model.encoder.blocks[0]
    assert block.mlp.lin1.weight.dtype == block.attn.qkv.weight.dtype == getattr(torch, precision)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = full.model(x), lower.model(x)
    assert torch.equal(found["patch"], expected["patch"]), "the embedding stays float32"
    for level in LEVELS[1:]:
        error = (found[level] - expected[level]).abs().max()
        assert 0 < error <= 0.02 * expected[level].abs().max(), level


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
    levels = resolve_levels(find_architecture(name), LEVELS)
    depth = find_architecture(name).depth
    assert (levels["early"], levels["middle"], levels["late"]) == (
        depth // 4 - 1,
        depth // 2 - 1,
        depth - 1,
    )


def test_block_numbers_stand_in_the_order_of_depth(checkpoint: Path) -> None:
    encoder = load_encoder(find_architecture("vit_tiny"), checkpoint, ("neck", "2", "patch"), 64)
    assert list(encoder.shapes) == ["patch", "block2", "neck"]
    with torch.inference_mode():
        assert set(encoder.model(torch.zeros(1, 3, 64, 64))) == {"patch", "block2", "neck"}


def test_blocks_deeper_than_asked_are_not_run(checkpoint: Path) -> None:
    encoder = load_encoder(find_architecture("vit_tiny"), checkpoint, ("patch", "early"), 64)
    encoder.model.encoder.blocks[1].norm1.register_forward_hook(
        lambda *_: pytest.fail("block 1 was run")
    )
    with torch.inference_mode():
        encoder.model(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (("patch", "head"), "no level 'head'"),
        (("4",), "from 0 to 3"),
        (("early", "0"), "name a level twice"),
        (("neck", "neck"), "name a level twice"),
        ((), "no level is given"),
    ],
)
def test_wrong_levels_are_refused(levels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_levels(find_architecture("vit_tiny"), levels)


def test_wrong_sizes_and_checkpoints_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS, 72)
    with pytest.raises(CheckpointError, match="does not fit encoder vit_b"):
        load_encoder(find_architecture("vit_b"), checkpoint, LEVELS, 64)
    with pytest.raises(CheckpointError, match="does not fit encoder vit_t:"):
        load_encoder(find_architecture("vit_t"), checkpoint, LEVELS, 64)
