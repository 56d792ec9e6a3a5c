"""A SAM-shaped encoder of 30,000 parameters, built from segment_anything's own classes.

Importing this module makes ``vit_tiny`` known to samcache, so that tests of everything but the
encoders themselves run in milliseconds. Its weights are random, and seeded.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from samcache.extract.encoders.base import Architecture, Levels
from samcache.extract.encoders.registry import ENCODERS, Entry
from samcache.extract.encoders.vit import ViTLevels, build_vit

SIDE = 64
DEPTH = 4


def _build(image_size: int, levels: Levels) -> ViTLevels:
    return ViTLevels(build_vit(image_size, 32, DEPTH, 2, (0, 1, 3)), levels)


ARCHITECTURES = {
    "vit_tiny": Architecture(
        image_size=SIDE,
        granularity=16,
        depth=DEPTH,
        named={"early": 0, "middle": 1, "late": 3},
        preprocessing="sam",
        build=_build,
    )
}
ENCODERS["vit_tiny"] = Entry("tiny_encoder", "the tests' own")


def random_weights(encoder: nn.Module, seed: int) -> dict[str, Tensor]:
    """Seeded random weights of an encoder's shapes, position embeddings and biases too."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(weight.shape, generator=generator) * 0.05
        + (weight.ndim == 1 and name.endswith("weight"))
        for name, weight in encoder.state_dict().items()
    }


def save_tiny_checkpoint(path: Path, seed: int = 0) -> Path:
    """Write random weights in the layout of a SAM checkpoint."""
    weights = random_weights(build_vit(SIDE, 32, DEPTH, 2, (0, 1, 3)), seed)
    torch.save({f"image_encoder.{name}": weight for name, weight in weights.items()}, path)
    return path
