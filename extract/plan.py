"""``samcache extract --plan``: what a run would write, and how long it would take."""

import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.filesize import decimal

from samcache.cache.create import store_exists
from samcache.cache.format.layout import ArraySpec, Layout
from samcache.cache.format.shards import count_shard_bytes
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.extract.changes import (
    Changes,
    compare,
    fitted,
    next_table,
    stored_images,
)
from samcache.extract.pipeline.exactness import PROBE, probe_images
from samcache.extract.pipeline.open_shard import ShardRows
from samcache.extract.pipeline.progress import encoding_progress, tell
from samcache.extract.pipeline.ranks import division, reading_threads
from samcache.extract.pipeline.reuse import KnownRows, open_reusable
from samcache.extract.pipeline.rows import Row
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.prepare import ExtractOptions, Prepared, open_limited, prepare
from samcache.extract.remarks import training_remarks
from samcache.extract.run import configured_encoder, open_existing
from samcache.extract.sources.base import Source, told_passed_over
from samcache.extract.sources.source_hashes import source_hashes

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
        return rows * max(self.encode, self.read / reading_threads()) / workers


@dataclass(frozen=True)
class Forecast:
    """What a run would do. Bytes and objects are those of the shards it would write."""

    store: str
    exists: bool
    images: int  # in the store after the run
    rows: int  # to encode
    copied: int  # to copy from rows that were encoded before
    shards: int  # to write
    bytes: dict[str, int]  # by array
    objects: int
    workers: int
    speed: Speed | None
    changes: Changes
    passed_over: tuple[str, ...] = ()  # files of the source that are not taken for images
    remarks: tuple[str, ...] = ()  # why training would be refused, and odd classes

    @property
    def seconds(self) -> float | None:
        """Of the whole job, None where nothing could be measured."""
        return self.speed.seconds(self.rows, self.workers) if self.speed else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        total = sum(self.bytes.values())
        return {**asdict(self), "total_bytes": total, "seconds": self.seconds}

    def text(self, prune: bool, limited: bool = False) -> str:
        """A few lines for the terminal."""
        state = "exists" if self.exists else "would be created"
        width = max(map(len, self.bytes))
        copied = f", {self.copied} to copy" if self.copied else ""
        lines = [
            f"{self.store} {state}: {count_nouns(self.images, 'image')}, {self.rows} to "
            f"encode{copied}",
            *told_passed_over(self.passed_over),
            *self.changes.lines(prune, limited),
            *self.remarks,
            *(f"  {path:<{width}}  {decimal(size)}" for path, size in self.bytes.items()),
            f"{decimal(sum(self.bytes.values()))} in {count_nouns(self.objects, 'object')} "
            f"({count_nouns(self.shards, 'shard')})",
        ]
        if self.speed is not None and self.seconds is not None:
            lines.append(
                f"about {_duration(self.seconds)} with {self.workers} worker"
                f"{'s' if self.workers > 1 else ''}: measured on "
                f"{count_nouns(self.speed.images, 'image')}, "
                f"{self.speed.encode:.3g} s each on {self.speed.device}, {self.speed.read:.3g} s "
                "to read one"
            )
        elif self.rows:
            lines.append("no time: none of the images that were tried can be read")
        return "\n".join([*lines, "Nothing was written."])


def forecast(options: ExtractOptions, console: Console) -> Forecast:
    """Plan a run of these options; writes nothing, raises SamcacheError as the run would.

    Images are compared by id alone. Where some may be known, since the source has changed or with
    ``reuse``, the bytes of those that are to be done are read, with a progress bar on ``console``.
    Time is measured on a few images that are spread over the source.
    """
    source = open_limited(options)
    tell(console, source.remarks if division().speaks else ())
    prepared = prepare(options, source)
    table, store, changes = _table(prepared, options)
    size = store.rows_per_shard if store else options.shard_rows
    numbers = table["row"].to_numpy() // size
    passed = store.committed() if store else []
    if options.limit is not None:  # a shard with images beyond it is left for another run
        passed = [*passed, *numbers[~table["id"].isin(prepared.samples["id"])]]
    todo = table[~np.isin(numbers, passed)]
    _, counts = np.unique(todo["row"].to_numpy() // size, return_counts=True)
    own = [store] if store and (store.generation.number or table is not store.table) else []
    known = open_reusable(options.reuse, prepared.identity) + own
    copied = _copied(todo, prepared, KnownRows(known), console) if known and len(todo) else 0
    rows = len(todo) - copied
    arrays = Layout(int(table["row"].iloc[-1]) + 1, size, prepared.shapes).arrays(prepared.identity)
    return Forecast(
        store=str(options.store),
        exists=store is not None,
        images=len(table),
        rows=rows,
        copied=copied,
        shards=len(counts),
        bytes={path: _bytes(spec, counts, size) for path, spec in arrays.items()},
        objects=len(counts) * (len(arrays) + 1),
        workers=division().size,
        speed=measure_speed(prepared.source, configured_encoder(prepared, options))
        if rows
        else None,
        changes=changes,
        passed_over=source.passed_over,
        remarks=tuple(_training_remarks(table, store, source, options)),
    )


def measure_speed(source: Source, encoder: ShardEncoder) -> Speed | None:
    """Time reading and encoding on a few images, in the run's batches; None without any.

    The first batch warms the device up, and on a GPU compiles. It counts only where it took so
    long on a CPU that no other is begun.
    """
    few = source.limited(PROBE)
    started = time.perf_counter()
    images = probe_images(few, encoder.identity)
    read = (time.perf_counter() - started) / max(1, len(images))
    if not images:
        return None
    batch = [
        Row(number, "", images[number % len(images)])
        for number in range(min(encoder.batch.images, _LARGEST_BATCH))
    ]
    times: list[float] = []
    least = 1 if encoder.device.type == "cpu" else 2
    while len(times) < least or (sum(times) < _ENOUGH and len(times) < _BATCHES):
        started = time.perf_counter()
        list(encoder.encode([ShardRows(0, (0, len(batch)), batch)]))
        times.append(time.perf_counter() - started)
    encode = median(times[1:] or times) / len(batch)
    device = str(encoder.device)
    return Speed(encode, read, len(times) * len(batch), device)


def _table(
    prepared: Prepared, options: ExtractOptions
) -> tuple[pd.DataFrame, Store | None, Changes]:
    """The samples after the run, by ascending row; the store; what changed in the source."""
    objects = open_objects(options.store)
    if not store_exists(objects):
        new = prepared.samples.assign(row=np.arange(len(prepared.samples)))
        return new, None, Changes()
    store = open_existing(objects, prepared, options)
    given = fitted(prepared.samples, prepared.source, store, options.reading.split_seed)
    changes = compare(given, store)
    following = next_table(given, store, changes, options.prune)
    if not options.assume_unchanged:
        changes = replace(changes, uncompared=stored_images(store))
    return (store.table if following is None else following), store, changes


def _training_remarks(
    table: pd.DataFrame, store: Store | None, source: Source, options: ExtractOptions
) -> list[str]:
    """Of the samples after the run; what the store knows as unreadable does not count."""
    if store is not None:
        bad = store.samples[store.samples["status"] == "unreadable"]
        table = table.assign(status=np.where(table["row"].isin(bad["row"]), "unreadable", "ok"))
    dataset = store.dataset if store else source
    how = dataset.classes, dataset.split_origin, options.limit is not None
    return training_remarks(source.name, table, *how)


def _copied(todo: pd.DataFrame, prepared: Prepared, known: KnownRows, console: Console) -> int:
    """How many of the samples to do the run would copy instead, going by their bytes."""
    found = pd.Index(prepared.samples["id"]).get_indexer(todo["id"])
    places = found[found >= 0].tolist()
    with encoding_progress(console) as progress:
        task = progress.add_task("looking for what is known", total=len(places))
        hashes = source_hashes(prepared.source, places, lambda: progress.advance(task))
        return sum(sha in known for sha in hashes)


def _bytes(spec: ArraySpec, counts: npt.NDArray[np.int64], size: int) -> int:
    """Bytes of one array's objects: of so many samples in each shard."""
    empty = count_shard_bytes(np.zeros(size, np.bool_), spec.row_bytes)
    one = count_shard_bytes(np.ones(1, np.bool_), spec.row_bytes) - count_shard_bytes(
        np.zeros(1, np.bool_), spec.row_bytes
    )
    return len(counts) * empty + int(counts.sum()) * one


def _duration(seconds: float) -> str:
    """Such as ``3.2 h``."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
