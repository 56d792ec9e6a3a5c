"""SAM's and SAM 2's weights under the names of Hugging Face's transformers."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_sam2 import TINY_SAM2, save_tiny_sam2
from torch import Tensor

from samcache.extract.encoders.base import Architecture
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.registry import LEVELS, find_architecture

# Meta's names to those of transformers, as its SamModel and Sam2Model have them.
SAM = {
    r"^image_encoder\.": "vision_encoder.",
    r"patch_embed\.proj\.": "patch_embed.projection.",
    r"blocks\.(\d+)\.norm": r"layers.\1.layer_norm",
    r"blocks\.": "layers.",
    r"neck\.0\.": "neck.conv1.",
    r"neck\.1\.": "neck.layer_norm1.",
    r"neck\.2\.": "neck.conv2.",
    r"neck\.3\.": "neck.layer_norm2.",
}
SAM2 = {
    r"^image_encoder\.trunk\.": "vision_encoder.backbone.",
    r"^image_encoder\.neck\.": "vision_encoder.neck.",
    r"patch_embed\.proj\.": "patch_embed.projection.",
    r"blocks\.(\d+)\.norm": r"blocks.\1.layer_norm",
    r"mlp\.layers\.0\.": "mlp.proj_in.",
    r"mlp\.layers\.1\.": "mlp.proj_out.",
    r"neck\.convs\.(\d)\.conv\.": r"neck.convs.\1.",
    r"^no_mem_embed$": "no_memory_embedding",
}
# Some of the names of transformers 5.24, so that the rules above are not taken on trust.
THEIRS = {
    "sam": {
        "vision_encoder.pos_embed",
        "vision_encoder.patch_embed.projection.weight",
        "vision_encoder.layers.3.layer_norm2.bias",
        "vision_encoder.layers.0.attn.rel_pos_h",
        "vision_encoder.layers.0.attn.qkv.bias",
        "vision_encoder.layers.0.mlp.lin1.weight",
        "vision_encoder.neck.conv1.weight",
        "vision_encoder.neck.layer_norm1.weight",
        "vision_encoder.neck.conv2.weight",
        "vision_encoder.neck.layer_norm2.bias",
    },
    "sam2": {
        "vision_encoder.backbone.pos_embed",
        "vision_encoder.backbone.pos_embed_window",
        "vision_encoder.backbone.patch_embed.projection.bias",
        "vision_encoder.backbone.blocks.1.proj.weight",
        "vision_encoder.backbone.blocks.1.layer_norm1.weight",
        "vision_encoder.backbone.blocks.7.attn.proj.bias",
        "vision_encoder.backbone.blocks.7.mlp.proj_in.weight",
        "vision_encoder.backbone.blocks.7.mlp.proj_out.bias",
        "vision_encoder.neck.convs.1.weight",
        "no_memory_embedding",
    },
}


def rename(weights: dict[str, Tensor], rules: dict[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for name, weight in weights.items():
        for ours, theirs in rules.items():
            name = re.sub(ours, theirs, name)
        renamed[name] = weight
    return renamed | {"prompt_encoder.not_a_point_embed.weight": torch.ones(1, 2)}


@pytest.mark.parametrize("model", ["sam", "sam2"])
def test_weights_under_transformers_names_give_the_same_bits(
    model: str, checkpoint: Path, tmp_path: Path
) -> None:
    architecture: Architecture = TINY_SAM2
    native, rules = save_tiny_sam2(tmp_path / "meta.pt"), SAM2
    if model == "sam":
        architecture, native, rules = find_architecture("vit_tiny"), checkpoint, SAM
    weights = torch.load(native, weights_only=True)
    theirs = rename(weights.get("model", weights), rules)
    assert theirs.keys() >= THEIRS[model]
    save_file(theirs, tmp_path / "model.safetensors")
    x = torch.randn(1, 3, architecture.image_size, architecture.image_size)
    with torch.inference_mode():
        expected = load_encoder(architecture, native, LEVELS).model(x)
        found = load_encoder(architecture, tmp_path / "model.safetensors", LEVELS).model(x)
    assert all(torch.equal(found[level], expected[level]) for level in LEVELS)
