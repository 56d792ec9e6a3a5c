"""``samcache extract --plan``: what a run would write, and how long it would take."""

import os
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.filesize import decimal

from samcache.cache.create import store_exists
from samcache.cache.layout import ArraySpec, Layout
from samcache.cache.location import open_objects
from samcache.cache.shards import shard_size
from samcache.extract.division import division
from samcache.extract.open_shard import ShardRows
from samcache.extract.plan import Changes, compare, fitted, next_table
from samcache.extract.prepare import ExtractOptions, Prepared, prepare
from samcache.extract.probe import PROBE, probe_images
from samcache.extract.rows import Row
from samcache.extract.run import configured_encoder, open_existing
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source

_READERS = 8  # threads of the pipeline that read and decode, at most
_LARGEST_BATCH = 32  # images that are measured at a time, at most
_BATCHES = 5  # measured, at most
_ENOUGH = 5.0  # seconds of measuring after which no further batch is begun


@dataclass(frozen=True)
class Speed:
    """Seconds an image, measured on a few: of the encoder, and of one thread that reads."""

    encode: float
    read: float
    images: int  # encoded while measuring
    device: str

    def seconds(self, rows: int, workers: int) -> float:
        """For so many rows in a job of so many workers; reading runs ahead in several threads."""
        readers = min(_READERS, os.cpu_count() or 1)
        return rows * max(self.encode, self.read / readers) / workers


@dataclass(frozen=True)
class Forecast:
    """What a run would do. Bytes and objects are those of the shards it would write."""

    store: str
    exists: bool
    images: int  # in the store after the run
    rows: int  # of them to encode
    shards: int  # to write
    bytes: dict[str, int]  # by array
    objects: int
    workers: int
    speed: Speed | None
    changes: Changes

    @property
    def seconds(self) -> float | None:
        """Of the whole job, None where nothing could be measured."""
        return self.speed.seconds(self.rows, self.workers) if self.speed else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        total = sum(self.bytes.values())
        return {**asdict(self), "total_bytes": total, "seconds": self.seconds}

    def text(self, prune: bool) -> str:
        """A few lines for the terminal."""
        state = "exists" if self.exists else "would be created"
        width = max(map(len, self.bytes))
        lines = [
            f"{self.store} {state}: {self.images} images, {self.rows} to encode",
            *self.changes.lines(prune),
            *(f"  {path:<{width}}  {decimal(size)}" for path, size in self.bytes.items()),
            f"{decimal(sum(self.bytes.values()))} in {self.objects} objects ({self.shards} shards)",
        ]
        if self.speed is not None and self.seconds is not None:
            lines.append(
                f"about {_duration(self.seconds)} with {self.workers} worker"
                f"{'s' if self.workers > 1 else ''}: measured on {self.speed.images} images, "
                f"{self.speed.encode:.3g} s each on {self.speed.device}, {self.speed.read:.3g} s "
                "to read one"
            )
        return "\n".join([*lines, "Nothing was written."])


def forecast(options: ExtractOptions) -> Forecast:
    """Plan a run of these options; writes nothing, raises SamcacheError as the run would.

    Images are compared by id alone, not by their bytes, and what ``reuse`` would copy counts as
    rows to encode. Time is measured on a few images that are spread over the source.
    """
    prepared = prepare(options)
    rows, committed, changes, size = _table(prepared, options)
    shards, counts = np.unique(rows // size, return_counts=True)
    counts = counts[~np.isin(shards, committed or [])]
    todo = int(counts.sum())
    arrays = Layout(int(rows[-1]) + 1, size, prepared.shapes).arrays(prepared.identity)
    return Forecast(
        store=str(options.store),
        exists=committed is not None,
        images=len(rows),
        rows=todo,
        shards=len(counts),
        bytes={path: _bytes(spec, counts, size) for path, spec in arrays.items()},
        objects=len(counts) * (len(arrays) + 1),
        workers=division().size,
        speed=measure_speed(prepared.source, configured_encoder(prepared, options))
        if todo
        else None,
        changes=changes,
    )


def measure_speed(source: Source, encoder: ShardEncoder) -> Speed | None:
    """Time reading and encoding on a few images, in the run's batches; None without any.

    The first batch warms the device up and counts only where it alone took long enough.
    """
    few = source.limited(PROBE)
    started = time.perf_counter()
    images = probe_images(few, encoder.identity)
    read = (time.perf_counter() - started) / max(1, len(images))
    if not images:
        return None
    batch = [
        Row(number, "", images[number % len(images)])
        for number in range(min(encoder.batch.size, _LARGEST_BATCH))
    ]
    times: list[float] = []
    while not times or (sum(times) < _ENOUGH and len(times) < _BATCHES):
        started = time.perf_counter()
        list(encoder.encode([ShardRows(0, (0, len(batch)), batch)]))
        times.append(time.perf_counter() - started)
    encode = median(times[1:] or times) / len(batch)
    device = str(encoder.device)
    return Speed(encode, read, len(times) * len(batch), device)


def _table(
    prepared: Prepared, options: ExtractOptions
) -> tuple[npt.NDArray[np.int64], list[int] | None, Changes, int]:
    """Rows of the samples after the run, ascending; shards that stand, or None without a store.

    Then what changed in the source, and the rows of a shard.
    """
    objects = open_objects(options.store)
    there = objects.folder is None or objects.folder.exists()  # asking further would make a folder
    if not there or not store_exists(objects):
        return np.arange(len(prepared.samples)), None, Changes(), options.shard_rows
    store = open_existing(objects, prepared, options)
    given = fitted(prepared.samples, prepared.source, store, options.reading.split_seed)
    changes = compare(given, store)
    following = next_table(given, store, changes, options.prune)
    table = store.table if following is None else following
    return table["row"].to_numpy(), store.committed(), changes, store.rows_per_shard


def _bytes(spec: ArraySpec, counts: npt.NDArray[np.int64], size: int) -> int:
    """Bytes of one array's objects: of so many samples in each shard."""
    empty = shard_size(np.zeros(size, np.bool_), spec.row_bytes)
    one = shard_size(np.ones(1, np.bool_), spec.row_bytes) - shard_size(
        np.zeros(1, np.bool_), spec.row_bytes
    )
    return len(counts) * empty + int(counts.sum()) * one


def _duration(seconds: float) -> str:
    """Such as ``3.2 h``."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
