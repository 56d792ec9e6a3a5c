"""Images scaled to the classifier's size, with the same bits in training, predict and exports."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BITS = 20  # 255 << 20 fits int32, and 255 << 40 fits the integers that float64 represents exactly


class Resize(nn.Module):
    """Square uint8 images scaled to another side: bilinear, antialiased, rounded to integers.

    Weights are whole multiples of 2**-20 and every sum is an exact integer. Many pixels lie
    halfway between two integers, where sums of float32 weights round by their order of summation:
    differently in torch and onnxruntime.
    """

    sources: Tensor
    weights: Tensor

    def __init__(self, frame: int, side: int) -> None:
        """frame, side: of the images before and after."""
        super().__init__()
        self.same = frame == side
        sources, weights = _taps(frame, side)
        self.register_buffer("sources", sources)
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, frame, frame) uint8 -> (B, C, side, side) uint8."""
        if self.same:
            return images
        rows = self._weighted_sum(images.int(), dim=2)
        pixels = self._weighted_sum(rows.double(), dim=3)
        return (pixels * 0.5 ** (2 * _BITS)).round().byte()  # halves to the even integer

    def _weighted_sum(self, values: Tensor, dim: int) -> Tensor:
        """Scale one axis of (B, C, H, W), in units of 2**-20."""
        shape = [-1 if axis == dim else 1 for axis in range(4)]
        weights = self.weights.to(values.dtype)
        parts = (
            values.index_select(dim, self.sources[tap]) * weights[tap].view(shape)
            for tap in range(len(weights))
        )
        total = next(parts)
        for part in parts:
            total = total + part
        return total


@lru_cache
def share_resize(frame: int, side: int) -> Resize:
    """A ``Resize`` on the CPU, made once for all shards of a store."""
    return Resize(frame, side)


def _taps(frame: int, side: int) -> tuple[Tensor, Tensor]:
    """For each of T neighbours: the source pixel of every pixel (T, side), and its weight.

    int64 and int32. The weights are those that torch applies to the identity matrix; each pixel's
    add up to 2**20.
    """
    identity = torch.eye(frame, dtype=torch.float64)[None, None]
    scaled = F.interpolate(identity, (side, frame), mode="bilinear", antialias=True)[0, 0]
    units = (scaled * 2**_BITS).round().int()
    places = torch.arange(side)
    units[places, units.argmax(dim=1)] += 2**_BITS - units.sum(dim=1, dtype=torch.int32)
    count = int((units > 0).sum(dim=1).max())
    first = (units > 0).int().argmax(dim=1)
    first = first.clamp(max=frame - count)
    sources = first + torch.arange(count)[:, None]
    return sources, units.T.gather(0, sources)
