"""Plan a run of ``samcache extract``: what it would write, and how long it would take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.create import store_exists
from samcache.cache.format.layout import ArraySpec, Layout
from samcache.cache.format.shards import count_shard_bytes
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.cache.store import Store
from samcache.extract.changes import Changes, compare, count_tried, fit_to_store, make_next_table
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline.exactness import PROBE, read_probe_images
from samcache.extract.pipeline.open_shard import ShardRows
from samcache.extract.pipeline.ranks import count_reading_threads, find_division
from samcache.extract.pipeline.read.reuse import KnownRows, open_reusable
from samcache.extract.pipeline.read.rows import Row
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.sources.base import Source
from samcache.extract.sources.source_hashes import read_hashes
from samcache.extract.sources.training_remarks import describe_training
from samcache.extract.target import Target, open_limited, open_store, prepare_target

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

    def estimate_seconds(self, rows: int, workers: int) -> float:
        """For so many rows in a job of so many workers; reading runs ahead in several threads."""
        return rows * max(self.encode, self.read / count_reading_threads()) / workers


@dataclass(frozen=True)
class Plan:
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
    remarks: tuple[Remark, ...] = ()  # why training would be refused, and odd classes
    pruned: bool = False  # whether the store would follow what left the source or changed
    relabels: bool = False  # whether the store's own labels would follow the source
    limited: bool = False  # whether the run would see only some of the source's images

    @property
    def seconds(self) -> float | None:
        """Of the whole job, None where nothing could be measured."""
        return self.speed.estimate_seconds(self.rows, self.workers) if self.speed else None


def plan_run(
    options: ExtractOptions,
    on_progress: OnProgress = ignore_progress,
    on_remark: OnRemark = ignore_remark,
) -> Plan:
    """Plan a run of these options; writes nothing, raises SamcacheError as the run would.

    Images are compared by id alone. Where some may be known, since the source has changed or with
    ``reuse``, the bytes of the images to do are read. Time is measured on a few images that are
    spread over the source.
    """
    source, job = open_limited(options), find_division()
    for remark in source.remarks if job.speaks else ():
        on_remark(remark)
    target = prepare_target(options, source)
    table, store, changes = _plan_table(target)
    size = store.rows_per_shard if store else options.shard_rows
    numbers = table["row"].to_numpy() // size
    passed = store.list_committed() if store else []
    if options.limit is not None:  # a shard with images beyond the limit is left for another run
        passed = [*passed, *numbers[~table["id"].isin(target.samples["id"])]]
    todo = table[~np.isin(numbers, passed)]
    _, counts = np.unique(todo["row"].to_numpy() // size, return_counts=True)
    own = [store] if store and (store.generation.number or table is not store.table) else []
    known = open_reusable(options.reuse, target.identity) + own
    looking = partial(on_progress, "looking for known images")
    copied = _count_known(todo, target, KnownRows(known), looking) if known and len(todo) else 0
    rows = len(todo) - copied
    arrays = Layout(int(table["row"].iloc[-1]) + 1, size, target.shapes).list_arrays(
        target.identity
    )
    return Plan(
        store=str(options.store),
        exists=store is not None,
        images=len(table),
        rows=rows,
        copied=copied,
        shards=len(counts),
        bytes={path: _count_bytes(spec, counts, size) for path, spec in arrays.items()},
        objects=len(counts) * (len(arrays) + 1),
        workers=job.size,
        speed=measure_speed(source, target.open_encoder()) if rows else None,
        changes=changes,
        passed_over=source.passed_over,
        remarks=tuple(_describe_training(table, store, target)),
        pruned=options.prune,
        relabels=options.relabel,
        limited=options.limit is not None,
    )


def measure_speed(source: Source, shard_encoder: ShardEncoder) -> Speed | None:
    """Time reading and encoding on a few images, in the run's batches; None without any.

    The first batch warms the device up, and on a GPU compiles. It counts only where it took so
    long on a CPU that no other is begun.
    """
    encoder, few = shard_encoder.encoder, source.limit(PROBE)
    started = time.perf_counter()
    images = read_probe_images(few, encoder.identity)
    read = (time.perf_counter() - started) / max(1, len(images))
    if not images:
        return None
    batch = [
        Row(number, "", images[number % len(images)])
        for number in range(min(shard_encoder.batch.images, _LARGEST_BATCH))
    ]
    times: list[float] = []
    least = 1 if encoder.device.type == "cpu" else 2
    while len(times) < least or (sum(times) < _ENOUGH and len(times) < _BATCHES):
        started = time.perf_counter()
        list(shard_encoder.encode([ShardRows(0, (0, len(batch)), batch)]))
        times.append(time.perf_counter() - started)
    encode = median(times[1:] or times) / len(batch)
    device = str(encoder.device)
    return Speed(encode, read, len(times) * len(batch), device)


def _plan_table(target: Target) -> tuple[pd.DataFrame, Store | None, Changes]:
    """The samples after the run, by ascending row; the store; what changed in the source."""
    options = target.options
    objects = open_objects(options.store)
    if not store_exists(objects):
        new = target.samples.assign(row=np.arange(len(target.samples)))
        return new, None, Changes()
    store = open_store(Store(options.store, objects), target)
    samples = fit_to_store(target.samples, target.source, store, options.reading.split_seed)
    changes = compare(samples, store)
    following = make_next_table(samples, store, changes, options.prune, options.relabel)
    if not options.assume_unchanged:
        changes = replace(changes, uncompared=count_tried(store))
    return (store.table if following is None else following), store, changes


def _describe_training(table: pd.DataFrame, store: Store | None, target: Target) -> list[Remark]:
    """Training remarks on the samples after the run, without those known as unreadable."""
    if store is not None:
        bad = store.samples[store.samples["status"] == "unreadable"]
        table = table.assign(status=np.where(table["row"].isin(bad["row"]), "unreadable", "ok"))
    source, limited = target.source, target.options.limit is not None
    return describe_training(
        source.name, table, store.dataset if store else source.dataset, limited
    )


def _count_known(
    todo: pd.DataFrame, target: Target, known: KnownRows, on_images: Callable[[int, int], None]
) -> int:
    """How many of the samples to do the run would copy instead, going by their bytes."""
    found = pd.Index(target.samples["id"]).get_indexer(todo["id"])
    hashes = read_hashes(target.source, found[found >= 0].tolist(), on_images)
    return sum(sha in known for sha in hashes)


def _count_bytes(spec: ArraySpec, counts: npt.NDArray[np.int64], size: int) -> int:
    """Bytes of one array's objects: of so many samples in each shard."""
    empty = count_shard_bytes(np.zeros(size, np.bool_), spec.row_bytes)
    one = count_shard_bytes(np.ones(1, np.bool_), spec.row_bytes) - count_shard_bytes(
        np.zeros(1, np.bool_), spec.row_bytes
    )
    return len(counts) * empty + int(counts.sum()) * one
