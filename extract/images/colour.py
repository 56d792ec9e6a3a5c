"""From a decoded Pillow image of any mode to 8-bit sRGB."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from samcache.cache.errors import ImageError

RGB = npt.NDArray[np.uint8]  # (H, W, 3)
Grey = npt.NDArray[np.uint8]  # (H, W)
Window = tuple[float, float]  # the least and the greatest value shown

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF 6.0's tags
_WHITE_IS_ZERO, _SEPARATE, _UNSIGNED, _SIGNED = 0, 2, 1, 2  # and their values
_STRIP = 256  # lines at a time, so that copies as float64 or as places in a table stay small

# An ICC profile's colour space, the mode it applies to, and the modes it may stand in
_PROFILES = {
    "RGB": ("RGB", ("RGB", "RGBA", "P", "YCbCr")),
    "GRAY": ("L", ("L", "LA", "1")),
    "CMYK": ("CMYK", ("CMYK",)),
}
_SRGB = ImageCms.createProfile("sRGB")


def describe_window(window: Window | None) -> str:
    """A window as a store's identity has it: "auto", or its two ends, to the last digit."""
    return "auto" if window is None else ",".join(map(_write_digits, window))


def _write_digits(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def parse_window(text: str) -> Window | None:
    """The window of a store's identity."""
    if text == "auto":
        return None
    low, high = (float(part) for part in text.split(","))
    return low, high


def to_rgb(
    image: Image.Image, tags: Mapping[int, Any], window: Window | None = None
) -> Image.Image:
    """An image in RGB as a viewer would show it; ``tags`` are a TIFF's, or empty.

    Greyscale deeper than 8 bits is stretched over ``window``, or else from its least to its
    greatest value, transparency laid over white, and an embedded ICC profile applied. Raises
    ImageError for what Pillow would decode wrongly and for images without a finite value.
    """
    _refuse_deep_planes(tags)
    signed_bytes = image.mode == "L" and _first(tags, _SAMPLE_FORMAT) == _SIGNED
    if image.mode in _DEEP_MODES or signed_bytes:
        inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and not signed_bytes
        show = partial(map_grey, window=window, inverted=inverted)
        return Image.fromarray(map_values(_read_values(image, tags), show)).convert("RGB")
    mode, profile = image.mode, image.info.get("icc_profile")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if profile:
        return _convert_to_srgb(image, mode, profile)
    return image if image.mode == "RGB" else image.convert("RGB")  # which copies RGB, too


def _convert_to_srgb(image: Image.Image, mode: str, profile: bytes) -> Image.Image:
    """Apply an ICC profile; one that is damaged or of another kind of image says nothing.

    ``mode`` is the file's own. Pixels that are in sRGB already are left as they are.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        applied, modes = _PROFILES[opened.profile.xcolor_space.strip()]
        if mode not in modes or "sRGB" in (opened.profile.profile_description or ""):
            return image.convert("RGB")
        converted = ImageCms.profileToProfile(
            image.convert(applied), opened, _SRGB, outputMode="RGB"
        )
    except (OSError, KeyError, ImageCms.PyCMSError):
        return image.convert("RGB")
    return converted or image.convert("RGB")


def _read_values(image: Image.Image, tags: Mapping[int, Any]) -> npt.NDArray[Any]:
    """Grey values as the file means them; Pillow takes 32 bits as signed and 8 as unsigned."""
    values = np.asarray(image)
    if image.mode == "L":
        return values.view(np.int8)
    unsigned = _first(tags, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    if image.mode == "I" and _first(tags, _BITS) == 32 and unsigned:
        return values.view(np.uint32)
    return values


def map_values(values: npt.NDArray[Any], show: Callable[[npt.NDArray[Any]], Grey]) -> Grey:
    """(H, W) values as ``show`` has them, which is asked once for each value that occurs.

    show: (1, n) values of the same type -> (1, n) uint8; where it looks for the least and the
    greatest, it finds those of the image. Values of more than 16 bits it gets as they are.
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        return show(values)
    codes = values.view(f"u{values.dtype.itemsize}")
    occurs = np.zeros(1 << 8 * codes.itemsize, dtype=bool)
    occurs[codes] = True
    found = np.flatnonzero(occurs).astype(codes.dtype)
    table = np.zeros(len(occurs), np.uint8)
    table[found] = show(found[None].view(values.dtype))[0]
    grey = np.empty(values.shape, np.uint8)
    for first in range(0, len(codes), _STRIP):
        strip = slice(first, first + _STRIP)
        np.take(table, codes[strip], out=grey[strip], mode="clip")  # "raise" copies once more
    return grey


def map_grey(
    values: npt.NDArray[Any],
    window: Window | None = None,
    inverted: bool = False,
    background: npt.NDArray[np.bool_] | None = None,
) -> Grey:
    """(H, W) numbers -> (H, W) uint8: the window's ends, or the values' own, as 0 and 255.

    NaN and ``background`` pixels, which do not count for the ends, are black; infinities are the
    ends. Raises ImageError where no value is finite.
    """
    counted = np.isfinite(values)
    if background is not None:
        counted &= ~background
    if not counted.any():
        raise ImageError("holds no finite value")
    low, high = window or _find_ends(values, counted)
    scale = 255.0 / (high - low) if high > low else 0.0
    grey = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), _STRIP):
        strip = values[first : first + _STRIP].astype(np.float64)
        strip = np.nan_to_num(strip, nan=low, posinf=high, neginf=low).clip(low, high)
        grey[first : first + _STRIP] = np.rint((strip - low) * scale)
    if inverted:
        grey = 255 - grey
    if background is not None:
        grey[background] = 0
    return grey


def _find_ends(values: npt.NDArray[Any], counted: npt.NDArray[np.bool_]) -> Window:
    """The least and the greatest of the values that count."""
    if values.dtype.kind == "f":
        start = (np.inf, -np.inf)
    else:
        limits = np.iinfo(values.dtype)
        start = (int(limits.max), int(limits.min))
    low = values.min(where=counted, initial=start[0])
    return float(low), float(values.max(where=counted, initial=start[1]))


def _refuse_deep_planes(tags: Mapping[int, Any]) -> None:
    """Pillow reads TIFFs of separate planes deeper than 8 bits without an error, and wrongly."""
    if tags.get(_PLANES) == _SEPARATE and _first(tags, _BITS, 8) > 8 and len(tags[_BITS]) > 1:
        raise ImageError("a TIFF of separate planes deeper than 8 bits: save it interleaved")


def _first(tags: Mapping[int, Any], tag: int, default: int | None = None) -> Any:
    value = tags.get(tag, default)
    return value[0] if isinstance(value, tuple) and value else value
