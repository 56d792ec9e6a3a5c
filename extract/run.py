"""``samcache extract``: open the source and the encoder, open or create the store, fill it."""

import platform
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rich.console import Console

from samcache.cache.claims import Claims
from samcache.cache.create import (
    TABLE,
    add_generation,
    create_store,
    stale_metadata,
    store_exists,
    write_metadata,
)
from samcache.cache.description import Dataset, Description
from samcache.cache.duplicates import split_groups
from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.identity import Identity
from samcache.cache.layout import Layout
from samcache.cache.location import open_objects
from samcache.cache.objects import Objects
from samcache.cache.precision import Precision
from samcache.cache.store import Store
from samcache.cache.views import VIEW_SETS
from samcache.extract.batch_size import BatchSize
from samcache.extract.colour import window_text
from samcache.extract.division import Division, division, own_gpu
from samcache.extract.encoders import (
    ARCHITECTURES,
    LEVELS,
    Encoder,
    load_encoder,
    resolve_precision,
)
from samcache.extract.file_sources import SourceOptions
from samcache.extract.open_source import open_source
from samcache.extract.pipeline import Work, fill
from samcache.extract.plan import Changes, compare, compare_bytes, fitted, next_table
from samcache.extract.probe import measure_precision, probe_images
from samcache.extract.progress import encoding_progress, job_progress
from samcache.extract.pseudonyms import hashed_ids
from samcache.extract.reuse import KnownRows, open_reusable
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source
from samcache.extract.summary import ExtractSummary, summarise
from samcache.extract.weights import official_checkpoint

_DEFAULT_FRAME = 256
Shapes = dict[str, tuple[int, int, int]]  # level -> (C, h, w)

_PATIENCE = 0.5  # seconds between looks at a store that another process is creating


@dataclass(frozen=True)
class ExtractOptions:
    """The options of ``samcache extract``; None means the default of the encoder or machine."""

    source: Path
    store: str | Path  # a folder or a URL
    encoder: str
    checkpoint: Path | None = None
    image_size: int | None = None
    preprocessing: str | None = None
    levels: tuple[str, ...] = LEVELS
    pool: int = 4
    dtype: str = "float16"
    views: str = "identity"  # or flips, dihedral
    precision: str = "auto"
    frame_size: int | None = None
    device: str = "cpu"
    batch_size: int | None = None  # None: what fits
    shard_rows: int = 64
    limit: int | None = None
    strict: bool = False
    allow_split_groups: bool = False
    hash_ids: bool = False
    prune: bool = False
    reuse: tuple[str, ...] = ()  # stores of the same identity to copy from
    assume_unchanged: bool = False
    reading: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True)
class Prepared:
    """What is known before a store is looked at.

    samples: the source's table as a new store shall have it; shapes: each level's as cached.
    """

    source: Source
    samples: pd.DataFrame
    checkpoint: Path
    encoder: Encoder
    identity: Identity
    shapes: Shapes


def prepare(options: ExtractOptions) -> Prepared:
    """Open source and encoder, and refuse what does not fit together; raises SamcacheError."""
    source = open_source(options.source, options.reading)
    if options.limit is not None:
        source = source.limited(options.limit)
    if not options.allow_split_groups:
        _refuse_split_groups(source)
    checkpoint = options.checkpoint or official_checkpoint(options.encoder)
    encoder = load_encoder(
        options.encoder,
        checkpoint,
        options.levels,
        options.image_size,
        resolve_precision(options.precision, options.device),
    )
    _check_pool(encoder.shapes, options.pool, encoder.image_size)
    samples = hashed_ids(source.samples) if options.hash_ids else source.samples
    shapes = {
        level: (channels, height // options.pool, width // options.pool)
        for level, (channels, height, width) in encoder.shapes.items()
    }
    return Prepared(source, samples, checkpoint, encoder, _identity(encoder, options), shapes)


def extract(options: ExtractOptions, console: Console) -> ExtractSummary:
    """Encode what the store lacks, with a progress bar on ``console``; raises SamcacheError."""
    prepared = prepare(options)
    source, samples, encoder = prepared.source, prepared.samples, prepared.encoder
    share = division()
    objects = open_objects(options.store)
    with Claims(objects) as claims:
        store = open_or_create(objects, prepared, options, claims)
        store, changes = bring_up_to_date(store, source, samples, options, share, claims, console)
        places = source_places(store, samples)
        known = KnownRows(_reusable(store, options.reuse))
        work = Work(store, source, places, known, share, options.strict)
        started = time.perf_counter()
        encoded = run_encoder(work, encoder, options.device, options.batch_size, claims, console)
        seconds = time.perf_counter() - started
    finished = Store(options.store, objects)
    return summarise(finished, encoded, seconds, changes.lines(options.prune), share)


def run_encoder(
    work: Work,
    encoder: Encoder,
    device: str,
    batch_size: int | None,
    claims: Claims,
    console: Console,
) -> int:
    """Fill the store behind a progress bar that starts at what is done; the images committed."""
    store, place = work.store, open_device(device)
    batch = BatchSize.chosen(batch_size, place, store.rows_per_shard)
    with job_progress(store, work.division, console) as progress:
        shard_encoder = ShardEncoder(
            model=encoder.model.to(place),
            device=place,
            identity=store.identity,
            arrays=store.arrays,
            batch=batch,
            on_images=progress.add,
        )
        encoded = fill(work, shard_encoder, claims, progress.wait_for)
    if encoded and not batch.fixed and not work.division.rank:
        console.print(f"--batch-size auto: {batch.size} on {place}")
    return encoded


def open_device(name: str) -> torch.device:
    """The device of a name; "cuda" without a number is this process's own among the visible."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if device.index is None:
        device = torch.device("cuda", own_gpu(torch.cuda.device_count()))
    torch.cuda.set_device(device)  # else page-locked memory would open the first GPU as well
    return device


def open_or_create(
    objects: Objects, prepared: Prepared, options: ExtractOptions, claims: Claims
) -> Store:
    """The store of these options: an existing one if identities agree, or a new one.

    Of processes that start together one creates the store and the others wait for it. Raises
    StoreError naming what differs.
    """
    while not store_exists(objects):
        if claims.take(TABLE) is None:
            time.sleep(_PATIENCE)
            continue
        if not store_exists(objects):
            source = prepared.source
            made = Description(
                prepared.identity,
                Dataset(source.name, source.classes, source.split_origin),
                options.shard_rows,
                prepared.shapes,
                _provenance(_measured(prepared, options)),
            )
            create_store(options.store, objects, made, prepared.samples)
        claims.release(TABLE)
    return open_existing(objects, prepared, options)


def open_existing(objects: Objects, prepared: Prepared, options: ExtractOptions) -> Store:
    """The store that stands there; raises StoreError naming what differs from these options."""
    store = Store(options.store, objects)
    differences = store.identity.differences(prepared.identity)
    if differences:
        raise StoreError(
            f"{store.location} was made with other settings: {'; '.join(differences)}. Use the "
            "same settings to resume it, or another --store"
        )
    return store


def configured_encoder(prepared: Prepared, options: ExtractOptions) -> ShardEncoder:
    """The encoder as these options run it, for measuring before there is a store."""
    device = open_device(options.device)
    return ShardEncoder(
        model=prepared.encoder.model.to(device),
        device=device,
        identity=prepared.identity,
        arrays=Layout(0, options.shard_rows, prepared.shapes).arrays(prepared.identity),
        batch=BatchSize.chosen(options.batch_size, device, options.shard_rows),
        on_images=lambda *_: None,
    )


def _measured(prepared: Prepared, options: ExtractOptions) -> Precision | None:
    """The precision contract; the float32 encoder is loaded anew where the run's is not."""
    exact = None
    if prepared.identity.precision != "float32":
        name, levels = prepared.encoder.name, options.levels
        exact = load_encoder(name, prepared.checkpoint, levels, options.image_size).model
    images = probe_images(prepared.source, prepared.identity)
    return measure_precision(configured_encoder(prepared, options), images, exact)


def bring_up_to_date(
    store: Store,
    source: Source,
    samples: pd.DataFrame,
    options: ExtractOptions,
    share: Division,
    claims: Claims,
    console: Console,
) -> tuple[Store, Changes]:
    """Give the store the sample table that follows from the source, and say what has changed.

    Source bytes are compared by a single process alone, and not with ``assume_unchanged``; workers
    of one job all come to the same table from ids, and the first of them writes it.
    """
    compared = share.size == 1 and not options.assume_unchanged
    found: Changes | None = None
    while True:
        given = fitted(samples, source, store, options.reading.split_seed)
        changes = compare(given, store)
        if compared and store.committed():
            changed, mended = _compared_bytes(given, source, store, console)
            changes = replace(changes, changed=changed, mended=mended)
        found = found or changes
        table = next_table(given, store, changes, options.prune)
        if table is None and not stale_metadata(store):
            return store, found
        if claims.take(TABLE) is None:
            time.sleep(_PATIENCE)
        else:
            newest = Store(store.location, store.objects)
            if table is None:  # a process was killed between a table and what follows from it
                write_metadata(newest)
            elif newest.generation.number == store.generation.number:
                add_generation(newest, table)
            claims.release(TABLE)
        store = Store(store.location, store.objects)


def source_places(store: Store, samples: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each sample of the store's table its place in the source, -1 where it is not there."""
    places: npt.NDArray[np.int64] = pd.Index(samples["id"]).get_indexer(store.table["id"])
    return places


def _compared_bytes(
    samples: pd.DataFrame, source: Source, store: Store, console: Console
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    with encoding_progress(console) as progress:
        task = progress.add_task("comparing with the source", total=len(samples))
        return compare_bytes(samples, source, store, lambda: progress.advance(task))


def _reusable(store: Store, locations: tuple[str, ...]) -> list[Store]:
    """Where known images are looked up; the store itself only once its table has changed."""
    return open_reusable(locations, store) + ([store] if store.generation.number else [])


def _identity(encoder: Encoder, options: ExtractOptions) -> Identity:
    frame = options.frame_size
    if frame is None:
        frame = min(encoder.image_size, _DEFAULT_FRAME)
    return Identity(
        encoder=encoder.name,
        weights=encoder.weights,
        preprocessing=options.preprocessing or ARCHITECTURES[encoder.name].preprocessing,
        image_size=encoder.image_size,
        frame_size=frame,
        levels=tuple(encoder.levels),
        pool=options.pool,
        dtype=options.dtype,
        views=VIEW_SETS[options.views],
        precision=encoder.precision,
        window=window_text(options.reading.window),
    )


def _refuse_split_groups(source: Source) -> None:
    """A patient in two splits makes the test split easier than the world: raises SourceError."""
    divided = split_groups(source.samples)
    for group, splits in divided.items():
        raise SourceError(
            f"{len(divided)} groups stand in more than one split, first {group!r} in "
            f"{' and '.join(splits)}: mend the splits, or accept it with --allow-split-groups"
        )


def _check_pool(shapes: dict[str, tuple[int, int, int]], pool: int, image_size: int) -> None:
    for level, (_, height, width) in shapes.items():
        if height % pool or width % pool:
            raise ConfigError(
                f"--pool {pool} does not divide level {level}, which is {height} x {width} at "
                f"--image-size {image_size}: choose a pool that divides it"
            )


def _provenance(precision: Precision | None) -> dict[str, object]:
    packages = ("samcache", "torch", "torchvision", "timm", "numpy", "zarr", "pillow")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        **({"precision": precision.to_json()} if precision else {}),
    }
