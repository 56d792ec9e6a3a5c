"""A SAM-shaped encoder of 30,000 parameters, built from segment_anything's own classes.

Importing this module makes ``vit_tiny`` known to samcache, so that tests of everything but the
encoders themselves run in milliseconds. Its weights are random, and seeded.
"""

from pathlib import Path

import torch
from segment_anything.modeling.image_encoder import ImageEncoderViT
from torch import Tensor, nn

from samcache.extract.encoders.base import Architecture
from samcache.extract.encoders.networks.vit import ViTLevels, build_vit
from samcache.extract.encoders.registry import ENCODERS, Entry

SIDE = 64
DEPTH = 4


def build_tiny(image_size: int = SIDE) -> ImageEncoderViT:
    """The encoder as segment_anything has it, without its weights."""
    return build_vit(image_size, 32, DEPTH, 2, (0, 1, 3))


ARCHITECTURES = {
    "vit_tiny": Architecture(
        image_size=SIDE,
        granularity=16,
        depth=DEPTH,
        named={"early": 0, "middle": 1, "late": 3},
        preprocessing="sam",
        build=lambda size, levels: ViTLevels(build_tiny(size), levels),
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
    weights = random_weights(build_tiny(), seed)
    torch.save({f"image_encoder.{name}": weight for name, weight in weights.items()}, path)
    return path
