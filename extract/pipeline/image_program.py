"""From an image to what a store keeps of it, as one module that torch can export.

The resizing is Pillow's arithmetic (Resample.c) on tensors: coefficients are whole multiples of
2**-22, and each of the two passes rounds to integers. The operations are the same for all sizes.
"""

from collections.abc import Callable

import PIL
import torch
from torch import Tensor, nn

from samcache.cache.format.identity import Identity
from samcache.extract.encoders.load import Encoder
from samcache.extract.images.preprocess import parse_preprocessing
from samcache.extract.pipeline.reduction import pool_maps

_BITS = 22  # Resample.c's PRECISION_BITS
# Since Pillow 13 the vertical pass comes first where it removes most.
_PILLOW_CHOOSES = int(PIL.__version__.split(".")[0]) >= 13


class ImageProgram(nn.Module):
    """One image in; the frame and the maps that a store of an identity keeps of the image out."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder | None, identity: Identity) -> None:
        """encoder: with the levels that are wanted, None where none is."""
        super().__init__()
        self.encoder = encoder.model if encoder else None
        self.identity = identity
        self.how = parse_preprocessing(identity.preprocessing)
        self.register_buffer("mean", torch.tensor(self.how.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(self.how.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(1, 3, H, W) uint8 RGB -> (1, 3, F, F) uint8, level -> (1, C, h, w) in the store's dtype.

        F is identity.frame_size.
        """
        kept, _ = frame_image(image, self.identity.frame_size)
        if self.encoder is None:
            return kept.byte(), {}
        frame, inside = frame_image(image, self.identity.image_size, self.how.interpolation)
        maps = self.encoder(self._normalise(frame.float(), inside))
        dtype = getattr(torch, self.identity.dtype)
        return kept.byte(), {
            level: pool_maps(found.float(), self.identity.pool).to(dtype)
            for level, found in maps.items()
        }

    def _normalise(self, frame: Tensor, inside: Tensor) -> Tensor:
        """As ``preprocess.normalise``, without writing in place."""
        if not self.how.own_range:
            scaled = (frame - self.mean) / self.std
        else:
            low = torch.where(inside, frame, torch.inf).amin(dim=(1, 2, 3), keepdim=True)
            high = torch.where(inside, frame, -torch.inf).amax(dim=(1, 2, 3), keepdim=True)
            scaled = (frame - low) / (high - low).clamp(min=1e-8)
        return torch.where(inside, scaled, 0.0)


def frame_image(image: Tensor, side: int, interpolation: str = "bilinear") -> tuple[Tensor, Tensor]:
    """``preprocess.to_frame`` of (1, 3, H, W) uint8: (1, 3, side, side) of integers in float64.

    And (side, side) bool, whether a pixel is the image's or padding. interpolation: "bilinear" or
    "bicubic".
    """
    weigh = _FILTERS[interpolation]
    height, width = (_count_length(image, axis) for axis in (2, 3))
    scale = side / torch.maximum(height, width)
    below, right = ((size * scale + 0.5).floor().clamp(min=1) for size in (height, width))
    columns = _weigh_pixels(image, 3, width, right, side, weigh)
    rows = _weigh_pixels(image, 2, height, below, side, weigh)
    pixels = image.double()
    frame = _round(rows @ _round(pixels @ columns.T))
    if _PILLOW_CHOOSES:
        lost = height - below
        vertical_first = (lost > 0) & (lost > 2 * (width - right))
        frame = torch.where(vertical_first, _round(_round(rows @ pixels) @ columns.T), frame)
    places = torch.arange(side, dtype=torch.float64, device=image.device)
    return frame, (places < below)[:, None] & (places < right)


def _count_length(image: Tensor, axis: int) -> Tensor:
    """An axis' length as a () float64 tensor, counted, so that exports keep it dynamic."""
    line = image[0, 0, :, 0] if axis == 2 else image[0, 0, 0]
    return torch.ones_like(line, dtype=torch.float64).sum()


def _weigh_bilinear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _weigh_bicubic(distance: Tensor) -> Tensor:
    """Resample.c's bicubic_filter, in the order of its operations: a = -0.5, 0 from 2 on."""
    x = distance
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


_FILTERS = {"bilinear": _weigh_bilinear, "bicubic": _weigh_bicubic}


def _weigh_pixels(
    image: Tensor,
    axis: int,
    size: Tensor,
    wanted: Tensor,
    side: int,
    weigh: Callable[[Tensor], Tensor],
) -> Tensor:
    """Resample.c's coefficients of a filter, (side, length of the axis) float64.

    Integers in units of 2**-22, rounded half away from zero; zero in lines from ``wanted`` on.
    weigh: the filter's weights from distances of at least 0.
    """
    lines = torch.arange(side, dtype=torch.float64, device=image.device)[:, None]
    pixels = torch.arange(image.shape[axis], device=image.device).double()
    scale = size / wanted
    stretch = scale.clamp(min=1)
    distance = (pixels - (lines + 0.5) * scale + 0.5) * (1.0 / stretch)
    weights = weigh(distance.abs())
    total = weights.sum(dim=1, keepdim=True)
    share = weights / total.clamp(min=1e-8) * 2**_BITS
    units = share.sign() * (share.abs() + 0.5).floor()
    return torch.where(lines < wanted, units, 0.0)


def _round(total: Tensor) -> Tensor:
    """Resample.c's clip8 of sums in units of 2**-22."""
    return (total * 0.5**_BITS + 0.5).floor().clamp(0, 255)
