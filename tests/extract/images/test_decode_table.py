"""Every kind of odd image file: shown as a viewer would show it, or refused with its reason.

docs/inputs.md tells users the same.
"""

import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from image_files import grey_profile, png, png_chunk, rgb_profile, saved, tiff
from PIL import Image, ImageFile, PngImagePlugin
from pixels import pixels_of

from samcache.cache.errors import ImageError

RED, GREEN, BLUE, WHITE, BLACK = (
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]
)  # fmt: skip
Make = Callable[[], bytes]


def greys(*values: int) -> list[list[int]]:
    return [[value] * 3 for value in values]


def filled(mode: str, colour: Any, size: tuple[int, int] = (2, 1)) -> Image.Image:
    return Image.new(mode, size, colour)


def two_colours() -> Image.Image:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    return palette


def animation(kind: str, **options: object) -> bytes:
    frames = [filled("RGB", "red"), filled("RGB", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def turn_pixels(kind: str, mode: str = "RGB") -> bytes:
    """A line of light and dark whose EXIF says that the camera was held upright (orientation 6)."""
    image = filled(mode, 0)
    image.putpixel((0, 0), 255 if mode != "RGB" else (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


def with_text(size: int, compressed: bool) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "x" * size, zip=compressed)
    return saved(filled("L", 7), "PNG", pnginfo=text)


RGB16 = np.array([[[65535, 0, 32768], [256, 512, 1024]]], np.uint16)
GREY16 = np.array([[1000, 2000, 3000, 5000]], np.uint16)
FLOAT = np.array([[np.nan, -np.inf, 1, 2, 3, np.inf]], np.float32)
LINEAR = round(255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055))  # of 128 in sRGB's own curve

SHOWN: dict[str, tuple[Make, list[list[int]]]] = {
    "1-bit": (lambda: saved(filled("1", 1), "PNG"), [WHITE, WHITE]),
    "8-bit TIFF, white is zero": (
        lambda: tiff(np.array([[0, 200]], np.uint8), 0), greys(255, 55)),
    "2-bit grey": (
        lambda: png(np.array([[0b00011011]], np.uint8), 0, bits=2, size=(4, 1)),
        greys(0, 85, 170, 255)),
    "1x1": (lambda: saved(filled("RGB", "red", (1, 1)), "PNG"), [RED]),
    "palette": (lambda: saved(two_colours(), "PNG"), [RED, GREEN]),
    "palette, one colour clear": (lambda: saved(two_colours(), "PNG", transparency=1),
                                  [RED, WHITE]),
    "palette, half clear": (lambda: saved(two_colours(), "PNG", transparency=b"\x80\xff"),
                            [[255, 127, 127], GREEN]),
    "BMP": (lambda: saved(filled("RGB", "red"), "BMP"), [RED, RED]),
    "BMP, palette": (lambda: saved(two_colours(), "BMP"), [RED, GREEN]),
    "WebP": (lambda: saved(filled("RGB", "red"), "WEBP", lossless=True), [RED, RED]),
    "WebP, half clear": (
        lambda: saved(filled("RGBA", (255, 0, 0, 128)), "WEBP", lossless=True),
        [[255, 127, 127]] * 2),
    "JPEG 2000": (lambda: saved(filled("RGB", "red", (8, 8)), "JPEG2000"), [RED] * 64),
    "GIF, one colour clear": (lambda: saved(two_colours(), "GIF", transparency=1), [RED, WHITE]),
    "RGB, colour key": (lambda: saved(filled("RGB", "red"), "PNG", transparency=(255, 0, 0)),
                        [WHITE, WHITE]),
    "RGBA": (lambda: saved(filled("RGBA", (255, 0, 0, 128)), "PNG"), [[255, 127, 127]] * 2),
    "LA": (lambda: saved(filled("LA", (0, 0)), "PNG"), [WHITE, WHITE]),
    "16-bit grey PNG": (lambda: saved(Image.fromarray(GREY16), "PNG"), greys(0, 64, 128, 255)),
    "16-bit grey TIFF": (lambda: tiff(GREY16), greys(0, 64, 128, 255)),
    "16-bit grey TIFF, white is zero": (lambda: tiff(GREY16, 0), greys(255, 191, 127, 0)),
    "16-bit signed TIFF": (lambda: tiff(np.array([[-100, 0, 100]], np.int16)), greys(0, 128, 255)),
    "32-bit unsigned TIFF": (lambda: tiff(np.array([[5, 2**32 - 1]], np.uint32)), greys(0, 255)),
    "32-bit signed TIFF": (lambda: tiff(np.array([[-5, 5]], np.int32)), greys(0, 255)),
    "8-bit signed TIFF": (lambda: tiff(np.array([[-128, 127]], np.int8)), greys(0, 255)),
    "16-bit grey PNG with alpha": (lambda: png(np.array([[[40000, 65535]]], np.uint16), 4),
                                   greys(156)),
    "16-bit RGB PNG": (lambda: png(RGB16, 2), [[255, 0, 128], [1, 2, 4]]),
    "16-bit RGB TIFF": (lambda: tiff(RGB16, 2), [[255, 0, 128], [1, 2, 4]]),
    "8-bit RGB TIFF of planes": (
        lambda: tiff(np.array([[[9, 8]], [[7, 6]], [[5, 4]]], np.uint8), 2, planes=True),
        [[9, 7, 5], [8, 6, 4]]),
    "float TIFF with NaN": (lambda: tiff(FLOAT), greys(0, 0, 0, 128, 255, 255)),
    "CMYK JPEG, inverted as Adobe does": (
        lambda: saved(filled("CMYK", (0, 255, 255, 0), (8, 8)), "JPEG"), [[254, 0, 0]] * 64),
    "CMYK TIFF": (lambda: saved(filled("CMYK", (0, 255, 255, 0)), "TIFF"), [RED, RED]),
    "animated GIF": (lambda: animation("GIF"), [RED, RED]),
    "animated PNG": (lambda: animation("PNG"), [RED, RED]),
    "animated WebP": (lambda: animation("WEBP", lossless=True), [RED, RED]),
    "TIFF of two pages": (lambda: animation("TIFF"), [RED, RED]),
    "profile: red stands for blue": (
        lambda: saved(filled("RGB", "red"), "PNG", icc_profile=rgb_profile((2, 1, 0))),
        [BLUE, BLUE]),
    "profile under transparency": (
        lambda: saved(filled("RGBA", (255, 0, 0, 255)), "PNG", icc_profile=rgb_profile((2, 1, 0))),
        [BLUE, BLUE]),
    "profile: linear grey": (
        lambda: saved(filled("L", 128), "PNG", icc_profile=grey_profile(1.0)),
        greys(LINEAR, LINEAR)),
    "profile of another kind of image": (
        lambda: saved(filled("L", 128), "PNG", icc_profile=rgb_profile((2, 1, 0))),
        greys(128, 128)),
    "damaged profile": (
        lambda: saved(filled("RGB", "red"), "PNG", icc_profile=b"none"), [RED, RED]),
    "10 MB of text": (lambda: with_text(10_000_000, compressed=False), greys(7, 7)),
}  # fmt: skip


def tiled(side: int) -> bytes:
    """A TIFF of 8 x 8 grey pixels in a tile of ``side`` x ``side``."""
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + b"\0" * 4


REFUSED: dict[str, tuple[Make, str]] = {
    "0 bytes": (lambda: b"", "the file is empty"),
    "truncated JPEG": (
        lambda: saved(Image.effect_noise((64, 64), 90), "JPEG")[:-200], "truncated"),
    "truncated PNG": (lambda: saved(Image.effect_noise((64, 64), 90), "PNG")[:-200], "truncated"),
    "truncated WebP": (
        lambda: saved(Image.effect_noise((64, 64), 90), "WEBP")[:-200], "cannot|not an image"),
    "truncated BMP": (
        lambda: saved(Image.effect_noise((64, 64), 90), "BMP")[:-200], "truncated"),
    "a web page": (lambda: b"<html>404</html>", "not an image format"),
    "PostScript under an image's name": (
        lambda: saved(filled("RGB", "red"), "EPS"), "not an image format"),
    "PNG without width": (lambda: png(np.zeros((1, 0), np.uint8), 0), "not an image format"),
    "PNG with a flipped bit": (
        lambda: png(np.zeros((1, 1), np.uint8), 0).replace(b"IDATx", b"IDATy"),
        "cannot be decoded"),
    "16-bit RGB TIFF of planes": (
        lambda: tiff(np.moveaxis(RGB16, -1, 0).copy(), 2, planes=True), "save it interleaved"),
    "float RGB TIFF": (lambda: tiff(RGB16.astype(np.float32), 2), "a variant that it cannot read"),
    "64-bit float TIFF": (lambda: tiff(FLOAT.astype(np.float64)), "a variant that it cannot read"),
    "TIFF of tiles that claim to be larger than memory": (
        lambda: tiled(60_000),
        "too large: tiles of 60000 x 60000"),
    "float TIFF of NaN alone": (
        lambda: tiff(np.full((2, 2), np.nan, np.float32)), "no finite value"),
    "10 MB of compressed text": (lambda: with_text(10_000_000, compressed=True), "too large"),
    "text that unfolds to 10 MB in a profile": (
        lambda: png(np.zeros((1, 1), np.uint8), 0,
                    png_chunk(b"iCCP", b"p\0\0" + zlib.compress(b"x" * 10_000_000))), "too large"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHOWN)
def test_shown_as_a_viewer_shows_it(kind: str) -> None:
    make, pixels = SHOWN[kind]
    decoded = pixels_of(make())
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.reshape(-1, 3).astype(int), pixels, atol=1)


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_reason(kind: str) -> None:
    make, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason):
        pixels_of(make())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_turned_as_exif_says(kind: str) -> None:
    decoded = pixels_of(turn_pixels(kind))
    assert decoded.shape == (2, 1, 3)
    if kind != "JPEG":  # which blurs
        assert decoded[:, 0].tolist() == [WHITE, BLACK]


def test_deep_grey_is_turned_too() -> None:
    assert pixels_of(turn_pixels("PNG", "I;16")).shape == (2, 1, 3)


@pytest.mark.parametrize("size", [(30_000, 2), (2, 30_000)])
def test_the_thinnest_images_are_shown(size: tuple[int, int]) -> None:
    assert pixels_of(saved(filled("RGB", "red", size), "PNG")).shape == (*size[::-1], 3)


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file whose header claims a large image."""
    if kind == "PNG":
        return png(np.zeros((1, 1), np.uint8), 0, size=(width, height))
    data = saved(filled("L", 0, (1_111, 1_112)), kind)
    for order, size in (("little", 2), ("little", 4), ("big", 4)):
        data = data.replace((1_111).to_bytes(size, order), width.to_bytes(size, order))
        data = data.replace((1_112).to_bytes(size, order), height.to_bytes(size, order))
    return data


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "JPEG2000", "BMP"])
@pytest.mark.parametrize("sides", [(10_000, 9_000), (16_000, 16_000)])
def test_bombs_are_refused_by_their_declared_size(
    kind: str, sides: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="too large"):
        pixels_of(claiming(kind, *sides))


def test_bombs_are_refused_when_a_library_has_reset_the_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError, match="too large: 10000 x 9000 pixels"):
            pixels_of(claiming("PNG", 10_000, 9_000))
