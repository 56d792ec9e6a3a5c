"""CPU time of an image's way from its file's bytes to the encoder's frame, against Pillow's alone.

    SAMCACHE_DATA=… python benchmarks/bench_reading.py [--image-size 1024] [--repeats 15]

An image of ISIC 2017, enlarged, with noise on it so that it is as hard to decode as a photograph
(synthetic, but for its 256 pixels), as JPEG and as PNG. "samcache" is what a reading thread of
``extract`` does: SHA-256, decoding as a viewer would show it, the encoder's frame and the one that
the store keeps. "Pillow" opens the same bytes, makes them RGB and scales them twice, which no
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
from pathlib import Path

import click
import numpy as np
from machine import machine
from PIL import Image

from samcache.commands.allocator import keep_freed_memory
from samcache.extract.decode import decode_image
from samcache.extract.preprocess import resized_shape, to_frame

SIZES = ((256, 256), (1024, 768), (3000, 2000), (6000, 4000))
FORMATS = {"JPEG": {"quality": 92}, "PNG": {"compress_level": 6}}
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


def with_pillow(data: bytes, side: int) -> None:
    """The same pixels without a look at what kind of image it is."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        for each in (side, CACHED):
            height, width = resized_shape(opened.height, opened.width, each)
            np.asarray(opened.resize((width, height), Image.Resampling.BILINEAR))


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
    print(f"{'':16}{'samcache':>10}{'Pillow':>10}{'ratio':>8}   CPU ms, one thread")
    for kind, options in FORMATS.items():
        for size in SIZES:
            out = io.BytesIO()
            photograph(original, size).save(out, kind, **options)
            turns = [
                [cpu_ms(read, out.getvalue(), image_size) for read in (with_samcache, with_pillow)]
                for _ in range(repeats + 1)
            ][1:]
            ours, floor = (statistics.median(column) for column in zip(*turns, strict=True))
            name = f"{kind} {size[0]}x{size[1]}"
            print(f"{name:16}{ours:10.1f}{floor:10.1f}{ours / floor:8.2f}", flush=True)


if __name__ == "__main__":
    main()
