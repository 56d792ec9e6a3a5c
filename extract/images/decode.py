"""From the bytes of an image file to the RGB pixels a viewer would show."""

import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from samcache.cache.errors import ImageError
from samcache.extract.images.colour import Window, to_rgb
from samcache.extract.images.dicom.file import has_dicom_bytes
from samcache.extract.images.dicom.frames import decode_dicom
from samcache.extract.images.reasons import explain_reason

# Pillow knows more, but some of it starts other programs (EPS) or is no image that anyone trains on
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM", "AVIF")
_TILE_SIDES = 322, 323  # TIFF 6.0's tags
LARGEST = 89_478_485  # pixels, Pillow's own limit; more end as an ImageError, not decoded

# Pillow warns of odd metadata, which no viewer minds, and of too many pixels. Filters are set once,
# since changing them is not safe while threads decode.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode_image(data: bytes, window: Window | None = None, frame: int = 0) -> Image.Image:
    """Decode an image file to a Pillow image in RGB, as docs/inputs.md tells for each kind.

    window: the range of values shown, of DICOM and of greyscale deeper than 8 bits; by default the
    file's own window, or else its least to its greatest value. frame: of DICOM, counted from 0.

    The size is checked before anything is decoded. EXIF rotation is applied, and the first frame of
    an animation or page of a TIFF stands for the whole. Raises ImageError with the reason if the
    bytes are not a readable image.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    if has_dicom_bytes(data):
        return decode_dicom(data, LARGEST, window, frame)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > LARGEST:  # should another library reset the filters
                raise ImageError(f"too large: {image.width} x {image.height} pixels")
            tags = getattr(image, "tag_v2", {})
            _refuse_large_tiles(tags)
            image.load()
            return to_rgb(_turn_upright(image), tags, window)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            "not an image format that Pillow knows, or a variant that it cannot read"
        ) from None
    except Exception as error:  # decoders raise anything, and one bad image must not end a run
        raise ImageError(explain_reason(error)) from None


def pixels_to_image(pixels: npt.NDArray[np.generic]) -> Image.Image:
    """Grey (H, W), (H, W, 1) or colour (H, W, 3) uint8 pixels as a Pillow image in RGB."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8)).convert("RGB")


def _refuse_large_tiles(tags: Mapping[int, Any]) -> None:
    """A TIFF's tiles are unpacked whole, and may claim to be larger than the image."""
    width, height = (tags.get(tag, 0) for tag in _TILE_SIDES)
    if width * height > LARGEST:
        raise ImageError(f"too large: tiles of {width} x {height} pixels")


def _turn_upright(image: Image.Image) -> Image.Image:
    """A loaded image turned as its EXIF says, in place; damaged EXIF says nothing."""
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image
