"""From the bytes of an image file to the RGB pixels a viewer would show."""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from samcache.cache.errors import ImageError

RGB = npt.NDArray[np.uint8]

# Pillow warns of odd metadata, which no viewer minds, and of more than 90 megapixels, which end as
# an ImageError here. Filters are set once, since changing them is not safe while threads decode.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
warnings.simplefilter("error", Image.DecompressionBombWarning)

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")


def decode_image(data: bytes) -> RGB:
    """Decode an image file to RGB, (H, W, 3) uint8.

    EXIF rotation is applied, transparency is laid over white, the first frame of an animation
    stands for the whole, and greyscale deeper than 8 bits is stretched from its least to its
    greatest value. Raises ImageError with the reason where the bytes are no readable image.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            return np.array(_to_rgb(upright))
    except UnidentifiedImageError:
        raise ImageError("not an image format that Pillow knows") from None
    except Image.DecompressionBombWarning as error:
        raise ImageError(f"too large: {error}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise ImageError(f"cannot be decoded: {error}") from None


def pixels_to_rgb(pixels: npt.NDArray[np.generic]) -> RGB:
    """Grey (H, W), (H, W, 1) or colour (H, W, 3) uint8 pixels as RGB, (H, W, 3) uint8."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _stretch(image)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _stretch(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    low, high = values.min(), values.max()
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")
