"""A SAM 2 encoder of 60,000 parameters: SAM 2's windows, pooling and neck, and few channels."""

from pathlib import Path
from typing import Any

import torch
from tiny_encoder import random_weights
from torch import Tensor

from samcache.extract.encoders.base import Architecture, Levels
from samcache.extract.encoders.networks.sam2 import Sam2Levels

SETTINGS: dict[str, Any] = {
    "embed_dim": 8,
    "stages": (1, 2, 3, 2),
    "global_att_blocks": (4,),
}


def _build(image_size: int, levels: Levels) -> Sam2Levels:
    return Sam2Levels(levels, image_size, SETTINGS)


TINY_SAM2 = Architecture(
    image_size=96,
    granularity=32,
    depth=4,
    named={"early": 1, "middle": 2, "late": 3},
    preprocessing="sam",
    build=_build,
    name="sam2_tiny",
)
_OFFICIAL = {
    "trunk.": "image_encoder.trunk.",
    "mlp.fc1.": "mlp.layers.0.",
    "mlp.fc2.": "mlp.layers.1.",
    "neck.0.": "image_encoder.neck.convs.0.conv.",
    "neck.1.": "image_encoder.neck.convs.1.conv.",
}


def name_officially(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's own weights under SAM 2's names, with others that a checkpoint of SAM 2 has."""
    named = {}
    for name, weight in weights.items():
        for ours, theirs in _OFFICIAL.items():
            name = name.replace(ours, theirs)
        named[name] = weight
    further = (
        "image_encoder.neck.convs.2.conv.weight",
        "image_encoder.neck.convs.3.conv.bias",
        "memory_encoder.out_proj.bias",
    )
    return named | {name: torch.ones(2) for name in further}


def make_official_weights(seed: int = 0) -> dict[str, Tensor]:
    """Seeded random weights of the tiny encoder under SAM 2's names."""
    return name_officially(random_weights(_build(96, {}), seed))


def save_tiny_sam2(path: Path) -> Path:
    """Write random weights in the layout of a SAM 2 checkpoint."""
    torch.save({"model": make_official_weights()}, path)
    return path
