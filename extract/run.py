"""``samcache extract``: open the source and the encoder, open or create the store, fill it."""

import platform
import time
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rich.console import Console

from samcache.cache.create import find_stale_metadata, store_exists
from samcache.cache.errors import SourceError, StoreError
from samcache.cache.format.description import DRAWN, Dataset, Description
from samcache.cache.format.layout import Layout
from samcache.cache.format.precision import Precision
from samcache.cache.format.reading import PROVENANCE
from samcache.cache.objects.base import Objects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.cache.writer import Writer
from samcache.extract.changes import (
    Changes,
    compare,
    compare_bytes,
    fitted,
    next_table,
    stored_images,
)
from samcache.extract.encoders.precision import resolve_precision
from samcache.extract.encoders.registry import (
    Encoder,
    load_encoder,
)
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.exactness import measure_precision, probe_images
from samcache.extract.pipeline.fill import Work, fill
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.progress import encoding_progress, job_progress, tell
from samcache.extract.pipeline.ranks import Division, division, own_gpu
from samcache.extract.pipeline.reuse import KnownRows, open_reusable
from samcache.extract.pipeline.rows import read_row
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.prepare import (
    ExtractOptions,
    Prepared,
    open_limited,
    prepare,
    refuse_split_groups,
)
from samcache.extract.remarks import training_remarks
from samcache.extract.sources.base import Source
from samcache.extract.sources.recorded_reading import refuse_other_reading
from samcache.extract.sources.splits import ReadHashes, SourceHashes, keep_copies_together
from samcache.extract.summary import ExtractSummary, summarise, unreadable_images


def extract(options: ExtractOptions, console: Console) -> ExtractSummary:
    """Encode what the store lacks, remarks and progress on ``console``; raises SamcacheError."""
    source, share = open_limited(options), division()
    objects = open_objects(options.store)
    new = not store_exists(objects)
    told = _describe_training(source, options) if new else []
    tell(console, (*source.remarks, *told) if share.speaks else ())
    prepared = prepare(options, source)
    read_hashes = SourceHashes(source, console, share.speaks)
    with Writer(options.store, objects) as writer:
        create_unless_there(writer, prepared, options, read_hashes)
        prepared = _following(prepared, options)
        samples = prepared.samples
        store = open_existing(objects, prepared, options)
        recorded = unreadable_images(store) if options.accept_unreadable else {}
        store, changes = bring_up_to_date(
            store, source, samples, options, share, writer, console, read_hashes
        )
        more = [line for line in _describe_training(source, options, store) if line not in told]
        tell(console, more if share.speaks else ())
        places = source_places(store, samples)
        known = KnownRows(_reusable(store, options.reuse))
        partial = options.limit is not None
        work = Work(store, source, places, known, share, options.strict, partial)
        started = time.perf_counter()
        filled = run_encoder(
            work, prepared.encoder, options.device, options.batch_size, writer, console
        )
        seconds = time.perf_counter() - started
    finished = writer.open()
    changed = changes.lines(options.prune, partial)
    remarks = tuple(_describe_training(source, options, finished)) if share.speaks else ()
    summary = summarise(finished, filled, seconds, changed, share, source.passed_over, remarks)
    accepted = tuple(name for name, _ in summary.unreadable.items() & recorded.items())
    return replace(summary, created=new, accepted=accepted)


def _describe_training(
    source: Source, options: ExtractOptions, store: Store | None = None
) -> list[str]:
    """Why a training would be refused: of the source, or of the store as it stands."""
    limited = options.limit is not None
    if store is None:
        table, dataset = source.samples, Dataset(source.name, source.classes, source.split_origin)
    else:
        table, dataset = store.samples, store.dataset
    return training_remarks(source.name, table, dataset.classes, dataset.split_origin, limited)


def run_encoder(
    work: Work,
    encoder: Encoder,
    device: str,
    batch_size: int | None,
    writer: Writer,
    console: Console,
) -> Filled:
    """Fill the store behind a progress bar that starts at what is done; what was committed."""
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
        filled = fill(work, shard_encoder, writer, progress.wait_for)
    if filled.encoded and not batch.fixed and work.division.speaks:
        beside = f", {batch.lanes} side by side" if batch.lanes > 1 else ""
        console.print(f"--batch-size auto: {batch.size} on {place}{beside}")
    return filled


def open_device(name: str) -> torch.device:
    """The device of a name; "cuda" without a number is this process's own among the visible."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if device.index is None:
        device = torch.device("cuda", own_gpu(torch.cuda.device_count()))
    torch.cuda.set_device(device)  # else page-locked memory would open the first GPU as well
    return device


def create_unless_there(
    writer: Writer, prepared: Prepared, options: ExtractOptions, read_hashes: ReadHashes
) -> None:
    """Create the store of these options where there is none.

    Of processes that start together one creates the store and the others wait for it. Where splits
    are drawn, the images are read, so that copies of one share a split. That and measuring the
    precision may take minutes; where another process has created the store by then, it stands.
    """

    def describe() -> tuple[Description, pd.DataFrame]:
        source = prepared.source
        made = Description(
            prepared.identity,
            Dataset(source.name, source.classes, source.split_origin),
            options.shard_rows,
            prepared.shapes,
            _provenance(_measured(prepared, options), source),
        )
        return made, _with_copies_together(prepared, options, read_hashes)

    writer.create(describe)


def _with_copies_together(
    prepared: Prepared, options: ExtractOptions, read_hashes: ReadHashes
) -> pd.DataFrame:
    """The samples of a new store; where splits are drawn, copies of an image share one."""
    source = prepared.source
    if not source.split_origin.startswith(DRAWN):
        return prepared.samples
    sha256 = read_hashes(list(range(len(source.samples))))
    split = keep_copies_together(source.samples, sha256, options.reading.split_seed)
    return prepared.samples.assign(split=split.to_numpy())


def _following(prepared: Prepared, options: ExtractOptions) -> Prepared:
    """What was prepared, or, where another machine of the job has begun the store in a precision
    that ``auto`` goes on with, the same for that precision.
    """
    stores = (options.store, *options.reuse)
    precision = resolve_precision(options.precision, torch.device(options.device), stores)
    if precision == prepared.identity.precision:
        return prepared
    return prepare(options, prepared.source)


def open_existing(objects: Objects, prepared: Prepared, options: ExtractOptions) -> Store:
    """The store that stands there; raises StoreError naming what differs from these options."""
    store = Store(options.store, objects)
    differences = store.identity.differences(prepared.identity)
    if differences:
        raise StoreError(
            f"{store.location} was made with other settings: {'; '.join(differences)}. Use the "
            "same settings to resume it, or another --store"
        )
    refuse_other_reading(prepared.source, store.provenance, store.location)
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
        exact.compiled = False
    images = probe_images(prepared.source, prepared.identity)
    if not images:
        _refuse_unreadable(prepared)
    return measure_precision(configured_encoder(prepared, options), images, exact)


def _refuse_unreadable(prepared: Prepared) -> None:
    """Raise SourceError: of a store without any image nobody has any use."""
    first = read_row(prepared.source, 0, 0, KnownRows(), prepared.identity)
    name = prepared.source.samples["id"].iloc[0]
    raise SourceError(
        f"none of the images that were tried can be read, first {name}: {first.reason}; check the "
        "files, and --root of a manifest"
    )


def bring_up_to_date(
    store: Store,
    source: Source,
    samples: pd.DataFrame,
    options: ExtractOptions,
    share: Division,
    writer: Writer,
    console: Console,
    read_hashes: ReadHashes,
) -> tuple[Store, Changes]:
    """Give the store the sample table that follows from the source, and say what has changed.

    Source bytes are compared by a single process alone, and not with ``assume_unchanged``; workers
    of one job all come to the same table from ids, and the first of them writes it. Raises
    SourceError where the table would part a group (unless ``allow_split_groups``).
    """
    compared = share.size == 1 and not options.assume_unchanged
    while True:
        given = fitted(samples, source, store, options.reading.split_seed, read_hashes)
        changes = compare(given, store)
        if compared and store.committed():
            changes = _compared_bytes(changes, given, source, store, console)
        elif not options.assume_unchanged:
            changes = replace(changes, uncompared=stored_images(store))
        table = next_table(given, store, changes, options.prune)
        if table is not None and not options.allow_split_groups:
            refuse_split_groups(table, f"with the splits that {store.location} has, ")
        if table is None and not find_stale_metadata(store):
            return store, changes
        updated = writer.update_table(store, table)
        if updated is not None:
            return updated, changes
        store = writer.open()


def source_places(store: Store, samples: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each sample of the store's table its place in the source, -1 where it is not there."""
    places: npt.NDArray[np.int64] = pd.Index(samples["id"]).get_indexer(store.table["id"])
    return places


def _compared_bytes(
    changes: Changes, samples: pd.DataFrame, source: Source, store: Store, console: Console
) -> Changes:
    with encoding_progress(console) as progress:
        task = progress.add_task("comparing with the source", total=len(samples))
        return compare_bytes(changes, samples, source, store, lambda: progress.advance(task))


def _reusable(store: Store, locations: tuple[str, ...]) -> list[Store]:
    """Where known images are looked up; the store itself only once its table has changed."""
    return open_reusable(locations, store.identity) + ([store] if store.generation.number else [])


def _provenance(precision: Precision | None, source: Source) -> dict[str, object]:
    packages = ("samcache", "torch", "torchvision", "timm", "numpy", "zarr", "pillow")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        PROVENANCE: source.reading.to_json(),
        **({"precision": precision.to_json()} if precision else {}),
    }
