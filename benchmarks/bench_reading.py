"""CPU time of an image's way from its file's bytes to the encoder's frame, against the libraries'.

    SAMCACHE_DATA=… python benchmarks/bench_reading.py [--image-size 1024] [--repeats 15]

An image of ISIC 2017, enlarged, with noise on it so that it is as hard to decode as a photograph
(synthetic, but for its 256 pixels), as JPEG, as PNG, and its brightness as DICOM of 12 bits with a
window. "samcache" is what a reading thread of ``extract`` does: SHA-256, decoding as a viewer would
show it, the encoder's frame and the one that the store keeps. "libraries" has Pillow open the same
bytes and scale them twice, or pydicom read the values, and Pillow scale their upper eight bits: no
reader in Python that gives the same pixels can do without. One thread; medians, by turns.
"""

import hashlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import click
import numpy as np
import pydicom
from machine import machine
from PIL import Image
from pydicom.data import get_testdata_file

from samcache.commands.terminal.allocator import keep_freed_memory
from samcache.extract.images.decode import decode_image
from samcache.extract.images.dicom.file import has_dicom_bytes
from samcache.extract.images.preprocess import fit_shape, to_frame

SIZES = ((256, 256), (1024, 768), (3000, 2000), (6000, 4000))
OPTIONS = {"JPEG": {"quality": 92}, "PNG": {"compress_level": 6}}
CACHED = 256  # the frame that a store keeps by default


def photograph(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An image enlarged to (width, height), with noise."""
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += np.random.default_rng(0).integers(-6, 7, pixels.shape, dtype=np.int16)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def with_samcache(data: bytes, side: int) -> None:
    """What a reading thread does."""
    hashlib.sha256(data).hexdigest()
    image = decode_image(data)
    for each in (side, CACHED):
        to_frame(image, each)


def with_libraries(data: bytes, side: int) -> None:
    """The same without a look at what kind of image it is, or how a viewer would show it."""
    if has_dicom_bytes(data):
        values = pydicom.dcmread(io.BytesIO(data)).pixel_array
        image = Image.fromarray((values >> 4).astype(np.uint8)).convert("RGB")
    else:
        image = Image.open(io.BytesIO(data))
        image.load()
    for each in (side, CACHED):
        height, width = fit_shape(image.height, image.width, each)
        np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def encoded(image: Image.Image, kind: str) -> bytes:
    """The bytes of an image's file."""
    out = io.BytesIO()
    if kind != "DICOM":
        image.save(out, kind, **OPTIONS[kind])
        return out.getvalue()
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    header.Rows, header.Columns = image.height, image.width
    header.BitsStored, header.HighBit = 12, 11
    header.WindowCenter, header.WindowWidth = 1000, 2000
    header.PixelData = (np.asarray(image.convert("L")).astype(np.int16) * 8).tobytes()
    header.save_as(out)
    return out.getvalue()


def cpu_ms(read: Callable[[bytes, int], None], data: bytes, side: int) -> float:
    """CPU milliseconds of one image."""
    start = time.process_time()
    read(data, side)
    return 1000 * (time.process_time() - start)


@click.command(help=__doc__.split("\n")[0])
@click.option("--image-size", default=1024, show_default=True, help="Side of the encoder's frame.")
@click.option("--repeats", default=15, show_default=True, help="Turns of each.")
def main(image_size: int, repeats: int) -> None:
    if "SAMCACHE_DATA" not in os.environ:
        sys.exit("set SAMCACHE_DATA to the folder of the real images: there is nothing to read")
    keep_freed_memory()
    print(json.dumps(machine()))
    with Image.open(
        min(Path(os.environ["SAMCACHE_DATA"], "isic2017_256").rglob("*.jpg"))
    ) as opened:
        original = opened.convert("RGB")
    print(f"{'':16}{'samcache':>10}{'libraries':>11}{'ratio':>8}   CPU ms, one thread")
    for kind, size in product((*OPTIONS, "DICOM"), SIZES):
        data = encoded(photograph(original, size), kind)
        turns = [
            [cpu_ms(read, data, image_size) for read in (with_samcache, with_libraries)]
            for _ in range(repeats + 1)
        ][1:]
        ours, floor = (statistics.median(column) for column in zip(*turns, strict=True))
        name = f"{kind} {size[0]}x{size[1]}"
        print(f"{name:16}{ours:10.1f}{floor:11.1f}{ours / floor:8.2f}", flush=True)


if __name__ == "__main__":
    main()
