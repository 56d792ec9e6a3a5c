"""Files decode to what a viewer would show, or end in an ImageError with the reason."""

import io
from collections.abc import Callable

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pixels import pixels_of

from samcache.cache.errors import ImageError
from samcache.commands.options import Window
from samcache.extract.images.colour import describe_window, map_grey, map_values, parse_window
from samcache.extract.images.decode import pixels_to_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_greyscale_palette_and_cmyk_become_rgb() -> None:
    grey = pixels_of(encoded(Image.new("L", (3, 2), 77), "PNG"))
    assert grey.shape == (2, 3, 3)
    assert (grey == 77).all()
    palette = Image.new("RGB", (3, 2), (255, 0, 0)).convert("P")
    assert pixels_of(encoded(palette, "PNG"))[0, 0].tolist() == [255, 0, 0]
    cmyk = pixels_of(encoded(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "JPEG"))
    assert cmyk[0, 0, 0] > 240
    assert cmyk[0, 0, 1] < 20


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (pixels_of(encoded(clear, "PNG")) == 255).all()
    grey = Image.new("LA", (2, 2), (0, 255))
    assert (pixels_of(encoded(grey, "PNG")) == 0).all()


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    assert pixels_of(encoded(image, "JPEG", exif=exif)).shape == (4, 2, 3)


def test_sixteen_bit_grey_is_stretched_to_its_own_range() -> None:
    values = np.array([[1000, 2000], [3000, 5000]], dtype=np.uint16)
    decoded = pixels_of(encoded(Image.fromarray(values), "PNG"))
    assert decoded[:, :, 0].tolist() == [[0, 64], [128, 255]]
    flat = np.full((2, 2), 40_000, dtype=np.uint16)
    assert (pixels_of(encoded(Image.fromarray(flat), "TIFF")) == 0).all()


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(data)[0, 0].tolist() == [255, 0, 0]


def test_unreadable_bytes_give_their_reason() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    cut = encoded(noise, "JPEG")[:-200]
    with pytest.raises(ImageError, match="truncated"):
        pixels_of(cut)
    with pytest.raises(ImageError, match="0 bytes"):
        pixels_of(b"")
    with pytest.raises(ImageError, match="not an image format"):
        pixels_of(b"<html>404</html>")


@pytest.mark.parametrize("pixels", [100_000_000, 200_000_000])
def test_decompression_bombs_are_refused(pixels: int) -> None:
    side = int(pixels**0.5)
    bomb = encoded(Image.new("1", (side, side)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="too large"):
        pixels_of(bomb)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_arrays_become_rgb(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    rgb = np.asarray(pixels_to_image(pixels))
    assert rgb.shape == (4, 5, 3)
    assert (rgb[:, :, 0] == pixels.reshape(4, 5, -1)[:, :, 0]).all()


@given(
    st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", ">i2", "<i4", "<f4"]),
    st.integers(1, 600),
    st.booleans(),
    st.sampled_from([None, (-5.0, 90.5)]),
    st.integers(0, 2**32 - 1),
)
def test_values_are_shown_alike_one_by_one_and_through_a_table(
    kind: str, lines: int, inverted: bool, window: tuple[float, float] | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(-128, 128, 2) if kind[-2] != "u" else rng.integers(0, 256, 2))
    values = rng.integers(low, high + 1, (lines, 3)).astype(kind)
    values = values[::-1] if seed % 2 else values  # as little in one piece as a decoder likes
    asked: list[int] = []

    def show(given: np.ndarray) -> np.ndarray:
        asked.append(given.size)
        background = given == low
        return map_grey(given, window, inverted, None if background.all() else background)

    expected = show(values)
    np.testing.assert_array_equal(map_values(values, show), expected)
    through_table = values.dtype.itemsize <= 2
    assert asked[1] == (len(np.unique(values)) if through_table else values.size)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_any_bytes_decode_or_raise_image_error() -> None:
    """A few hundred damaged files of each kind: nothing but ImageError may come out."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8))
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"):
        _survives_damage(encoded(image, kind), rng.integers)


def _survives_damage(data: bytes, draw: Callable[..., np.ndarray]) -> None:
    for _ in range(150):
        damaged = bytearray(data)
        for place in draw(0, len(data), 4):
            damaged[place] = int(draw(0, 256))
        try:
            pixels_of(bytes(damaged[: int(draw(1, len(data) + 1))]))
        except ImageError:
            continue


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e9))
def test_a_window_stands_in_an_identity_to_the_last_digit(low: float, width: float) -> None:
    window = low, low + width
    assert parse_window(describe_window(window)) == window


def test_plain_windows_are_written_plainly() -> None:
    assert describe_window((-160.0, 240.0)) == "-160,240"
    assert describe_window((1234519.0, 1234619.0)) == "1234519.0,1234619.0"


@pytest.mark.parametrize("window", ["nan,5", "inf,5", "5,nan", "5,inf", "5,0", "5"])
def test_windows_that_show_nothing_are_refused(window: str) -> None:
    with pytest.raises(click.BadParameter, match="should be"):
        Window().convert(window, None, None)
