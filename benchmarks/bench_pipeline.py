"""The wall time of ``extract`` against the bare encoder loop over the same batches.

    SAMCACHE_DATA=… SAMCACHE_WEIGHTS=… python benchmarks/bench_pipeline.py [--limit 32]
        [--image-size 512] [--batch-size 4] [--repeats 3] [--device cpu] [--threads 1]
        [--memory 64,256]

ISIC 2017's images, MobileSAM, five levels. Bare loop and extraction take turns in one process,
after one turn that does not count. The bare loop has all frames in memory and does nothing but to
give one batch after another to the encoder, on all cores. Extraction is measured from the first
claim to the last commit: reading, decoding, scaling, encoding, pooling, statistics, hashing,
writing with fsync. "Waits" is the share of that time in which the encoder loop has no images to go
on with. CPU seconds are those of the whole process, all threads: where the encoder is on the CPU
their ratio is the extra work, and other load on the machine, which shifts wall times, moves it
less. It still moves the bare loop, whose threads share one batch and probably wait busily for each
other. With --threads 1 nothing waits, and the ratio is repeatable on a busy machine. With --memory,
the peak
memory of extractions of so many images, each a process of its own. The encoder does nothing there,
so reading and writing run as fast as they can, and the figure shows what accumulates in memory.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch
from torch import nn

from samcache.cache.store import ShardContent
from samcache.commands.terminal.allocator import keep_freed_memory
from samcache.extract import run as extraction
from samcache.extract import target as preparation
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.precision import resolve_precision
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.images.preprocess import normalise, to_frame
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline import shard_encoder
from samcache.extract.pipeline.open_shard import ShardRows
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.run import extract
from samcache.extract.sources.open import open_source

Item = TypeVar("Item")
Turn = tuple[float, float]  # wall and CPU seconds

RUN_ENCODER = extraction.run_encoder


class TimedEncoder(ShardEncoder):
    """Adds up the time in which the loop waits for images."""

    waited = 0.0

    def encode(self, shards: Iterable[ShardRows]) -> Iterator[tuple[int, ShardContent]]:
        return super().encode(
            replace(shard, rows=self._timed(shard.rows)) for shard in self._timed(shards)
        )

    def _timed(self, items: Iterable[Item]) -> Iterator[Item]:
        iterator = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                TimedEncoder.waited += time.perf_counter() - started
            yield item


def bare_loop(options: ExtractOptions, model: nn.Module, frames: list[Any]) -> Turn:
    """Time to encode frames that are on the device, in the batches of extraction."""
    device, size = torch.device(options.device), options.batch_size or 1
    batches = []
    for first in range(0, len(frames), options.shard_rows):
        shard = frames[first : first + options.shard_rows]
        for start in range(0, len(shard), size):
            planes, extents = zip(*shard[start : start + size], strict=True)
            batches.append((torch.from_numpy(np.stack(list(planes))).to(device), list(extents)))
    started, worked = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        for stacked, extents in batches:
            model(normalise(stacked, extents, "sam"))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, time.process_time() - worked


def whole(options: ExtractOptions) -> Turn:
    """Time of an extraction into a new store, from the first claim to the last commit."""
    TimedEncoder.waited = 0.0
    with tempfile.TemporaryDirectory() as folder:
        extraction.run_encoder = timed(RUN_ENCODER, spent := [])
        extract(replace(options, store=Path(folder, "s.zarr")))
    return spent[0]


def timed(function: Callable[..., Any], spent: list[Turn]) -> Callable[..., Any]:
    """The function, its wall and CPU seconds added to ``spent``."""

    def wrapped(*arguments: Any) -> Any:
        started, worked = time.perf_counter(), time.process_time()
        result = function(*arguments)
        spent.append((time.perf_counter() - started, time.process_time() - worked))
        return result

    return wrapped


def settings(limit: int, image_size: int, batch_size: int, device: str) -> ExtractOptions:
    """Options of a run over some of ISIC 2017's images."""
    return ExtractOptions(
        source=Path(os.environ["SAMCACHE_DATA"], "isic2017_256", "labels.csv"),
        store=Path(),
        encoder="vit_t",
        checkpoint=Path(os.environ["SAMCACHE_WEIGHTS"], "mobile_sam.pt"),
        image_size=image_size,
        batch_size=batch_size,
        shard_rows=max(16, batch_size),
        limit=limit,
        device=device,
    )


def compare(options: ExtractOptions, repeats: int) -> None:
    """Print the table of bare loop against extraction."""
    source = open_source(options.source, options.reading).limit(options.limit or 1)
    precision = resolve_precision(options.precision, torch.device(options.device))
    checkpoint = options.checkpoint or Path()
    encoder = load_encoder(
        find_architecture("vit_t"), checkpoint, LEVELS, options.image_size, precision
    )
    size = encoder.image_size
    frames = [to_frame(source.read_image(row).decode(), size) for row in range(len(source.samples))]
    model = encoder.model.to(options.device)
    shard_encoder.ShardEncoder = TimedEncoder  # type: ignore[misc]
    bare_loop(options, model, frames[:4])
    turns = []
    print("| turn | bare | extract | ratio | bare, CPU | extract, CPU | ratio | waits |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for turn in range(repeats):
        if turn % 2:
            (after, worked), (before, bare_work) = whole(options), bare_loop(options, model, frames)
        else:
            (before, bare_work), (after, worked) = bare_loop(options, model, frames), whole(options)
        waits = TimedEncoder.waited / after
        ratios = after / before, worked / bare_work
        turns.append((before, after, ratios[0], bare_work, worked, ratios[1], waits))
        print(row(str(turn + 1), *turns[-1]), flush=True)
    print(row("median", *map(statistics.median, zip(*turns, strict=True))), flush=True)


def row(name: str, *values: float) -> str:
    """A line of the table."""
    wall, extract_wall, ratio, work, extract_work, work_ratio, waits = values
    return (
        f"| {name} | {wall:.1f} s | {extract_wall:.1f} s | {ratio:.3f} | {work:.1f} s "
        f"| {extract_work:.1f} s | {work_ratio:.3f} | {waits:.2%} |"
    )


class Still(nn.Module):
    """In place of the encoder: maps of its shapes, all zero, at no cost."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]]) -> None:
        super().__init__()
        self.shapes = shapes

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: x.new_zeros(len(x), *shape) for name, shape in self.shapes.items()}


def peak(options: ExtractOptions) -> None:
    """Extract with the still encoder and print the process's peak memory, and before, in MB."""
    loaded = load_encoder(
        find_architecture("vit_t"), options.checkpoint or Path(), LEVELS, options.image_size
    )
    still = replace(loaded, model=Still(loaded.shapes))  # type: ignore[arg-type]
    preparation.load_encoder = lambda *_: still  # type: ignore[attr-defined]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    whole(options)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([before, after]))


@click.command()
@click.option("--limit", default=32)
@click.option("--image-size", default=512)
@click.option("--batch-size", default=4)
@click.option("--repeats", default=3)
@click.option("--device", default="cpu")
@click.option("--threads", type=int, help="Of torch; by default one for each core.")
@click.option("--memory", default="", help="Numbers of images, comma-separated.")
@click.option("--anew", is_flag=True, help="Take freed memory from the system anew each time.")
@click.option("--peak-only", is_flag=True, hidden=True)
def main(
    limit: int,
    image_size: int,
    batch_size: int,
    repeats: int,
    device: str,
    threads: int | None,
    memory: str,
    anew: bool,
    peak_only: bool,
) -> None:
    """Run what was asked for and print tables."""
    if not anew:
        keep_freed_memory()  # as the command line does
    if threads:
        torch.set_num_threads(threads)
    options = settings(limit, image_size, batch_size, device)
    if peak_only:
        peak(options)
        return
    if memory:
        print("| images | peak before | peak after |\n|---|---|---|")
        for count in memory.split(","):
            words = ["--limit", count, "--image-size", str(image_size), "--peak-only"]
            words += ["--batch-size", str(batch_size)]
            done = subprocess.run(
                [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE
            )
            before, after = json.loads(done.stdout)
            print(f"| {count} | {before:.0f} MB | {after:.0f} MB |", flush=True)
        return
    compare(options, repeats)


if __name__ == "__main__":
    main()
