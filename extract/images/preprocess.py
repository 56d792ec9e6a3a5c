"""From an RGB image to the encoder's square input, as its text of preprocessing says."""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samcache.cache.errors import ConfigError, ImageError
from samcache.extract.images.colour import RGB

# segment_anything/build_sam.py, on the scale 0 to 255
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)
_THREE = r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?){2}"
_TEXT = re.compile(rf"(bilinear|bicubic) mean=({_THREE}) std=({_THREE})", re.ASCII)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How images are scaled and normalised. Mean and deviation are on the scale 0 to 255.

    own_range: each image's own least and greatest value become 0 and 1 instead (LiteMedSAM's and
    MedSAM's inference).
    """

    interpolation: str = "bilinear"
    mean: tuple[float, ...] = SAM_MEAN
    std: tuple[float, ...] = SAM_STD
    own_range: bool = False


@lru_cache
def parse_preprocessing(text: str) -> Preprocessing:
    """Read "sam", "medsam", or a text such as "bicubic mean=0.5,0.5,0.5 std=0.5,0.5,0.5".

    Mean and deviation are written on the scale 0 to 1. Raises ConfigError.
    """
    if text in ("sam", "medsam"):
        return Preprocessing(own_range=text == "medsam")
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"unknown preprocessing {ascii(text)[:80]}: expected sam, medsam, or a text such as "
            "'bicubic mean=0.5,0.5,0.5 std=0.5,0.5,0.5'",
            hint="preprocessing",
        )
    mean, std = (tuple(255 * float(part) for part in found[n].split(",")) for n in (2, 3))
    if min(std) <= 0 or not math.isfinite(sum(mean) + sum(std)):
        raise ConfigError(
            f"preprocessing {text!r} should have deviations above 0 and finite numbers",
            hint="preprocessing",
        )
    return Preprocessing(found[1], mean, std)


def describe_preprocessing(
    mean: tuple[float, ...], std: tuple[float, ...], interpolation: str
) -> str:
    """The text that ``parse_preprocessing`` reads; mean and deviation are on the scale 0 to 1."""
    numbers = (",".join(f"{value!r}" for value in values) for values in (mean, std))
    return "{} mean={} std={}".format(interpolation, *numbers)


def fit_shape(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width, at least 1, once the longest side is ``side`` (SAM's ResizeLongestSide)."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def to_frame(
    image: Image.Image, side: int, interpolation: str = "bilinear"
) -> tuple[RGB, tuple[int, int]]:
    """Scale an image's longest side to ``side`` and pad below and to the right with zeros.

    image: in RGB. Returns the frame, (side, side, 3) uint8, and the height and width that
    the image takes in it. With antialiasing, as in SAM's ResizeLongestSide.
    """
    height, width = fit_shape(image.height, image.width, side)
    frame = np.zeros((side, side, 3), dtype=np.uint8)
    try:
        scaled = image.resize((width, height), _FILTERS[interpolation])
    except (ValueError, MemoryError) as error:
        raise ImageError(f"cannot be resized to {side} pixels: {error}") from None
    frame[:height, :width] = np.asarray(scaled)
    return frame, (height, width)


def normalise(frames: Tensor, extents: list[tuple[int, int]], preprocessing: str) -> Tensor:
    """The encoder's input from frames; padding is zero after normalisation, as in SAM.

    frames: (B, S, S, 3) uint8; extents: each image's height and width in its frame. Returns
    (B, 3, S, S) float32. Raises ConfigError for an unknown preprocessing.
    """
    how = parse_preprocessing(preprocessing)
    x = frames.float()
    if not how.own_range:
        mean, std = _make_lines(how.mean, how.std, frames.shape[2], x.device)
        x.sub_(mean).div_(std)
    x = x.permute(0, 3, 1, 2)
    for image, (height, width) in zip(x, extents, strict=True):
        if how.own_range:
            low, high = image[:, :height, :width].aminmax()
            image.sub_(low).div_((high - low).clamp(min=1e-8))
        image[:, height:] = 0
        image[:, :, width:] = 0
    return x


@lru_cache
def _make_lines(
    mean: tuple[float, ...], std: tuple[float, ...], side: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and deviation for a line of pixels, (S, 3) each.

    Whole lines, since a CPU takes four times as long to repeat three numbers by itself; made once,
    since a GPU is waited for each time.
    """
    lines = (torch.tensor(values, device=device).repeat(side, 1) for values in (mean, std))
    return next(lines), next(lines)
