"""The names of Hugging Face's transformers for the weights of SAM and SAM 2, as Meta's."""

import re

from torch import Tensor

_ENCODER = "vision_encoder."
_SAM = {
    r"^patch_embed\.projection\.": "patch_embed.proj.",
    r"^layers\.(\d+)\.layer_norm": r"layers.\1.norm",
    r"^layers\.": "blocks.",
    r"^neck\.conv1\.": "neck.0.",
    r"^neck\.layer_norm1\.": "neck.1.",
    r"^neck\.conv2\.": "neck.2.",
    r"^neck\.layer_norm2\.": "neck.3.",
}
_SAM2 = {
    r"^backbone\.": "trunk.",
    r"\.patch_embed\.projection\.": ".patch_embed.proj.",
    r"\.layer_norm(\d)\.": r".norm\1.",
    r"\.mlp\.proj_in\.": ".mlp.layers.0.",
    r"\.mlp\.proj_out\.": ".mlp.layers.1.",
    r"^neck\.convs\.(\d)\.": r"neck.convs.\1.conv.",
}


def rename_sam(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights of transformers' SamModel under segment_anything's names.

    Weights under other names pass as they are.
    """
    return _rename_encoder(weights, _SAM)


def rename_sam2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights of transformers' Sam2Model under the names of SAM 2's own code.

    Weights under other names pass as they are.
    """
    renamed = _rename_encoder(weights, _SAM2)
    if renamed is not weights and "no_memory_embedding" in weights:
        renamed["no_mem_embed"] = weights["no_memory_embedding"]
    return renamed


def _rename_encoder(weights: dict[str, Tensor], rules: dict[str, str]) -> dict[str, Tensor]:
    if not any(name.startswith(_ENCODER) for name in weights):
        return weights
    renamed = {}
    for name, weight in weights.items():
        if name.startswith(_ENCODER):
            own = name.removeprefix(_ENCODER)
            for theirs, ours in rules.items():
                own = re.sub(theirs, ours, own)
            renamed[f"image_encoder.{own}"] = weight
    return renamed
