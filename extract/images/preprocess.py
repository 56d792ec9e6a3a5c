"""From an RGB image to the encoder's square input, as SAM and MedSAM do it."""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samcache.cache.errors import ImageError
from samcache.extract.images.colour import RGB

# segment_anything/build_sam.py, on the scale 0 to 255
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


def fit_shape(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width, at least 1, once the longest side is ``side`` (SAM's ResizeLongestSide)."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def to_frame(image: Image.Image, side: int) -> tuple[RGB, tuple[int, int]]:
    """Scale an image's longest side to ``side`` and pad below and to the right with zeros.

    image: in RGB. Returns the frame, (side, side, 3) uint8, and the height and width that
    the image takes in it. Bilinear with antialiasing, as in SAM's ResizeLongestSide.
    """
    height, width = fit_shape(image.height, image.width, side)
    frame = np.zeros((side, side, 3), dtype=np.uint8)
    try:
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    except (ValueError, MemoryError) as error:
        raise ImageError(f"cannot be resized to {side} pixels: {error}") from None
    frame[:height, :width] = np.asarray(scaled)
    return frame, (height, width)


def normalise(frames: Tensor, extents: list[tuple[int, int]], preprocessing: str) -> Tensor:
    """The encoder's input from frames; padding is zero after normalisation, as in SAM.

    frames: (B, S, S, 3) uint8; extents: each image's height and width in its frame. Returns
    (B, 3, S, S) float32. "sam" subtracts SAM's mean and divides by its deviation; "medsam" scales
    each image's own least and greatest value to 0 and 1 (LiteMedSAM's and MedSAM's inference).
    """
    x = frames.float()
    if preprocessing == "sam":
        mean, std = _sam_scale(frames.shape[2], x.device)
        x.sub_(mean).div_(std)
    x = x.permute(0, 3, 1, 2)
    for image, (height, width) in zip(x, extents, strict=True):
        if preprocessing == "medsam":
            low, high = image[:, :height, :width].aminmax()
            image.sub_(low).div_((high - low).clamp(min=1e-8))
        image[:, height:] = 0
        image[:, :, width:] = 0
    return x


@lru_cache
def _sam_scale(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """SAM's mean and deviation for a line of pixels, (S, 3) each.

    Whole lines, since a CPU takes four times as long to repeat three numbers by itself; made once,
    since a GPU is waited for each time.
    """
    mean, std = (torch.tensor(values, device=device) for values in (SAM_MEAN, SAM_STD))
    return mean.repeat(side, 1), std.repeat(side, 1)
