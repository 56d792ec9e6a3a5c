"""Image files that Pillow does not write, byte by byte: PNG chunks, TIFF tags, ICC profiles."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

Curve = float  # the exponent from stored value to light
_D50 = (0.9642, 1.0, 0.8249)
# columns of sRGB's matrix, adapted to D50 (IEC 61966-2-1)
_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def draw(path: Path, seed: int) -> None:
    """Write a picture of noise, of which every seed gives another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    values: np.ndarray,
    colour_type: int,
    extra: bytes = b"",
    bits: int | None = None,
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of (H, W) or (H, W, C) values of 8 or 16 bits; ``extra`` chunks before the pixels.

    The header may claim other bits a value, and another size (width, height), than the values have.
    """
    width, height = size or values.shape[1::-1]
    depth = bits or values.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    big = values.astype(values.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + line.tobytes() for line in big)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(lines))
        + png_chunk(b"IEND", b"")
    )


def tiff(
    values: np.ndarray, photometric: int = 1, sample_format: int | None = None, planes: bool = False
) -> bytes:
    """A TIFF of (H, W), (H, W, C) or, with ``planes``, (C, H, W) values, one strip a plane."""
    interleaved = np.moveaxis(values, 0, -1) if planes else values
    height, width = interleaved.shape[:2]
    samples = interleaved.shape[2] if interleaved.ndim == 3 else 1
    kinds = {"u": 1, "i": 2, "f": 3}
    strips = [plane.tobytes() for plane in values] if planes else [values.tobytes()]
    tags = {
        256: [width],
        257: [height],
        258: [values.dtype.itemsize * 8] * samples,
        259: [1],
        262: [photometric],
        273: [8 + sum(map(len, strips[:place])) for place in range(len(strips))],
        277: [samples],
        278: [height],
        279: [len(strip) for strip in strips],
        284: [2 if planes else 1],
        339: [sample_format or kinds[values.dtype.kind]] * samples,
    }
    data = b"".join(strips)
    data += b"\0" * (-len(data) % 2)
    entries, beyond, start = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, numbers in tags.items():
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            place = struct.pack("<I", start + len(beyond))
            beyond += packed
            packed = place
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + beyond


def rgb_profile(order: tuple[int, int, int] = (0, 1, 2), curve: Curve = 2.2) -> bytes:
    """An ICC profile with sRGB's primaries in another order: (2, 1, 0) means red shows as blue."""
    tags = {
        name: b"XYZ \0\0\0\0" + _fixed(*_PRIMARIES[column])
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), order, strict=True)
    }
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)))


def grey_profile(curve: Curve) -> bytes:
    """An ICC profile for greyscale."""
    return _profile(b"GRAY", {b"kTRC": _curve(curve)})


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """ICC.1:2001-04: header, tag table, tags."""
    text = b"samcache test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50),
        **tags,
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _fixed(*_D50)
    return header.ljust(128, b"\0") + table + body


def _curve(exponent: Curve) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
