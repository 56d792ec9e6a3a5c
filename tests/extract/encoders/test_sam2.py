"""SAM 2's levels against timm's own forward pass with the neck as SAM 2's predictor uses it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from reference_input import sampled, wave
from safetensors.torch import save_file
from tiny_sam2 import TINY_SAM2, make_official_weights, save_tiny_sam2
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from samcache.cache.errors import CheckpointError, ConfigError
from samcache.extract.encoders.load import Encoder, load_encoder
from samcache.extract.encoders.networks import hiera
from samcache.extract.encoders.networks.attention import compile_block
from samcache.extract.encoders.networks.hiera import run_hiera_block, run_hiera_block_in_parts
from samcache.extract.encoders.networks.sam2 import Sam2Levels
from samcache.extract.encoders.registry import LEVELS, find_architecture, list_architectures
from samcache.extract.encoders.weights import name_official_file

REFERENCES = Path(__file__).with_name("references.npz")
REAL = "sam2_hiera_tiny_encoder_fp16.safetensors"
TRUNKS = {
    "sam2_t": "sam2_hiera_tiny",
    "sam2_s": "sam2_hiera_small",
    "sam2_b+": "sam2_hiera_base_plus",
    "sam2_l": "sam2_hiera_large",
}


def timms_maps(model: Sam2Levels, x: Tensor) -> dict[str, Tensor]:
    """timm's own forward pass with the same weights."""
    trunk = model.trunk
    patch = trunk._pos_embed(trunk.patch_embed(x)).permute(0, 3, 1, 2)
    _, early, middle, late = trunk.forward_intermediates(x, intermediates_only=True)
    coarse = F.interpolate(model.neck[0](late), scale_factor=2, mode="nearest")
    neck = model.neck[1](middle) + coarse + model.no_mem_embed.view(1, 256, 1, 1)
    return {"patch": patch, "early": early, "middle": middle, "late": late, "neck": neck}


def assert_timms(encoder: Encoder, x: Tensor) -> None:
    with torch.inference_mode():
        expected, found = timms_maps(encoder.model, x), encoder.model(x)
    assert list(found) == list(LEVELS)
    for level in LEVELS:
        assert tuple(found[level].shape[1:]) == encoder.shapes[level]
        error = (found[level] - expected[level]).abs().max()
        assert error <= 1e-5 * expected[level].abs().max(), level


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny SAM 2."""
    return save_tiny_sam2(tmp_path_factory.mktemp("sam2") / "tiny.pt")


def test_real_weights_give_timms_levels(real_weights: Path) -> None:
    encoder = load_encoder(find_architecture("sam2_t"), real_weights / REAL, LEVELS, 512)
    assert_timms(encoder, wave(512))


def test_real_weights_at_1024_pixels_give_timms_stored_values(real_weights: Path) -> None:
    encoder = load_encoder(find_architecture("sam2_t"), real_weights / REAL, LEVELS)
    with torch.inference_mode():
        maps = encoder.model(wave(1024))
    assert encoder.shapes["neck"] == (256, 64, 64)
    with np.load(REFERENCES, allow_pickle=False) as references:
        for level in LEVELS:
            expected = references[f"sam2_t/{level}"]
            error = np.abs(sampled(maps[level]) - expected).max()
            assert error <= 1e-4 * np.abs(expected).max(), level


@pytest.mark.parametrize("tokens", [5, 70, 1024])
@pytest.mark.parametrize("size", [32, 96, 128, 224, 320])
def test_every_multiple_of_32_pixels_gives_timms_levels(
    tiny: Path, size: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows cut at borders, however few tokens are worked on at a time."""
    monkeypatch.setattr(hiera, "_TOKENS", tokens)
    x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    assert_timms(load_encoder(TINY_SAM2, tiny, LEVELS, size), x)


def test_a_size_that_windows_do_not_divide_is_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="48 does not fit sam2_tiny: expected a multiple of 32"):
        load_encoder(TINY_SAM2, tiny, LEVELS, 48)


def test_blocks_in_parts_are_blocks_as_a_whole(tiny: Path) -> None:
    x = torch.randn(2, 80, 80, 8)
    for block in load_encoder(TINY_SAM2, tiny, LEVELS).model.trunk.blocks:
        whole = run_hiera_block(block, x)
        torch.testing.assert_close(run_hiera_block_in_parts(block, x), whole, rtol=0, atol=1e-5)
        x = whole


# sam2/configs/sam2.1/*.yaml and the defaults of sam2/modeling/backbones/hieradet.py: dimension,
# heads, stages, global blocks, windows, side of the background positions. Then millions of
# parameters that timm lists for the trunk.
PUBLISHED = {
    "sam2_t": (96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), 7, 26.85),
    "sam2_s": (96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), 7, 33.95),
    "sam2_b+": (112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), 14, 68.68),
    "sam2_l": (144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), 7, 212.15),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_architectures_are_the_published_ones(name: str) -> None:
    dim, heads, stages, everywhere, windows, background, millions = PUBLISHED[name]
    with torch.device("meta"):
        model = find_architecture(name).build(1024, {})
        timms = timm.create_model(TRUNKS[name], num_classes=0)
    own = {key: weight.shape for key, weight in model.trunk.state_dict().items()}
    assert {key: w.shape for key, w in timms.state_dict().items() if "head" not in key} == own
    assert sum(shape.numel() for shape in own.values()) == pytest.approx(millions * 1e6, rel=1e-3)
    assert own["pos_embed"] == (1, dim, background, background)
    assert own["pos_embed_window"] == (1, dim, windows[0], windows[0])
    stage_of = [stage for stage, count in enumerate(stages) for _ in range(count)]
    for number, (block, stage) in enumerate(zip(model.trunk.blocks, stage_of, strict=True)):
        first = number > 0 and stage_of[number - 1] < stage
        window = 0 if number in everywhere else windows[stage - first]
        assert (block.dim_out, block.attn.num_heads) == (dim << stage, heads << stage)
        assert (block.window_size, block.q_stride) == ((window,) * 2, (2, 2) if first else None)
        assert block.norm1.eps == block.norm2.eps == 1e-6
    assert [conv.weight.shape[:2] for conv in model.neck] == [(256, dim * 8), (256, dim * 4)]


@pytest.mark.parametrize("form", ["nested", "bare", "half", "exported"])
def test_every_form_of_checkpoint_gives_the_same_maps(
    tiny: Path, tmp_path: Path, form: str
) -> None:
    weights = make_official_weights()
    if form == "half":
        weights = {name: weight.half() for name, weight in weights.items()}
    if form == "exported":  # to ONNX, with one axis fewer
        weights["no_mem_embed"] = weights["no_mem_embed"].view(1, 256, 1)
    path = tmp_path / ("sam2.safetensors" if form in ("half", "exported") else "sam2.pt")
    if path.suffix == ".pt":
        torch.save({"model": weights, "epoch": 3} if form == "nested" else weights, path)
    else:
        save_file(weights, path)
    x = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        expected = load_encoder(TINY_SAM2, tiny, LEVELS).model(x)
        found = load_encoder(TINY_SAM2, path, LEVELS).model(x)
    for level in LEVELS:
        if form != "half":
            assert torch.equal(found[level], expected[level])
        error = (found[level] - expected[level]).abs().max()
        assert error <= 5e-3 * expected[level].abs().max()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_keeps_the_maps_within_its_rounding(tiny: Path, precision: str) -> None:
    full = load_encoder(TINY_SAM2, tiny, LEVELS)
    lower = load_encoder(TINY_SAM2, tiny, LEVELS, precision=precision)
    block = lower.model.trunk.blocks[1]
    weights = (block.attn.qkv.weight, block.mlp.fc1.weight, block.proj.weight)
    assert {weight.dtype for weight in weights} == {getattr(torch, precision)}
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = full.model(x), lower.model(x)
    assert torch.equal(found["patch"], expected["patch"]), "the embedding stays float32"
    for level in LEVELS[1:]:
        assert found[level].dtype == torch.float32
        error = (found[level] - expected[level]).abs().max()
        assert 0 < error <= 0.02 * expected[level].abs().max(), level


@pytest.mark.parametrize(("level", "deeper"), [("patch", 0), ("0", 1), ("early", 3), ("middle", 6)])
def test_blocks_deeper_than_asked_are_not_run(tiny: Path, level: str, deeper: int) -> None:
    encoder = load_encoder(TINY_SAM2, tiny, (level,))
    encoder.model.trunk.blocks[deeper].norm1.register_forward_hook(
        lambda *_: pytest.fail(f"block {deeper} was run")
    )
    with torch.inference_mode():
        assert len(encoder.model(torch.zeros(1, 3, 96, 96))) == 1


def test_one_compiled_block_of_a_kind_serves_batches_of_any_size(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, but for the code that is made of it."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    torch._dynamo.reset()
    step = compile_block.__wrapped__(run_hiera_block)
    blocks = load_encoder(TINY_SAM2, tiny, LEVELS).model.trunk.blocks[2:4]  # 3 opens a stage
    with torch.inference_mode():
        for count in (4, 2, 3):
            x = torch.randn(count, 12, 12, 16)
            for block in blocks:
                torch.testing.assert_close(step(block, x), run_hiera_block(block, x))
    assert counter.frame_count == 2
    assert torch._dynamo.config.recompile_limit > 8, "a trunk has nine kinds of blocks"


def test_files_of_both_versions_are_recognised() -> None:
    architecture = find_architecture("sam2_t")
    assert architecture.official is not None
    newer, older = architecture.official, architecture.others[0]
    assert name_official_file(newer.sha256) == "sam2.1_hiera_tiny.pt of sam2_t"
    assert name_official_file(older.sha256) == "sam2_hiera_tiny.pt of sam2_t"
    files = [
        file
        for _, known in list_architectures()
        for file in (known.official, *known.others)
        if file is not None
    ]
    assert len({file.sha256 for file in files}) == len({file.file for file in files}) == len(files)
    assert all(len(file.sha256) == 64 for file in files)


def test_the_file_of_another_model_is_named(real_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the file is mobile_sam\.pt of vit_t$"):
        load_encoder(find_architecture("sam2_t"), real_weights / "mobile_sam.pt", LEVELS, 64)


def test_another_size_of_sam2_is_refused_in_one_line(real_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit encoder sam2_s: \d+ weights missing"):
        load_encoder(find_architecture("sam2_s"), real_weights / REAL, LEVELS, 64)
