"""What every encoder offers: named intermediate maps from one forward pass."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

Levels = dict[str, str | int]  # level name -> "patch", "neck" or a block number from 0


class LevelEncoder(nn.Module):
    """A frozen image encoder that hands out the maps of some of its depths.

    compiled: whether code may be made for its GPU first, which pays from hundreds of images on.
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
