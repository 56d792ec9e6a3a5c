"""``samcache extract``: encode what the store lacks of the source."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from samcache.cache.commit import Writer
from samcache.cache.create import find_stale_metadata, store_exists
from samcache.cache.labels.duplicates import refuse_split_groups
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.cache.store import Store
from samcache.extract.changes import (
    Changes,
    compare,
    compare_bytes,
    count_tried,
    find_places,
    fit_to_store,
    make_next_table,
)
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline.fill import fill
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.progress import report_job_progress
from samcache.extract.pipeline.ranks import Division, find_division
from samcache.extract.pipeline.read.read_ahead import Work
from samcache.extract.pipeline.read.reuse import KnownRows, open_reusable
from samcache.extract.pipeline.shard_encoder import open_shard_encoder
from samcache.extract.sources.known_splits import ReadHashes
from samcache.extract.sources.source_hashes import SourceHashes
from samcache.extract.sources.training_remarks import describe_training
from samcache.extract.summary import ExtractSummary, list_unreadable, summarise
from samcache.extract.target import (
    Target,
    describe_store,
    follow_precision,
    open_limited,
    open_store,
    prepare_target,
)


def extract(
    options: ExtractOptions,
    on_progress: OnProgress = ignore_progress,
    on_remark: OnRemark = ignore_remark,
) -> ExtractSummary:
    """Encode what the store lacks of the source; raises SamcacheError.

    Of the processes of a job, the first alone calls ``on_remark``, and one reports the progress.
    """
    source, share = open_limited(options), find_division()
    if not share.speaks:
        on_progress, on_remark = ignore_progress, ignore_remark
    objects = open_objects(options.store)
    is_new, limited = not store_exists(objects), options.limit is not None
    remarks = describe_training(source.name, source.samples, source.dataset, limited)
    for remark in (*source.remarks, *(remarks if is_new else ())):
        on_remark(remark)
    target = prepare_target(options, source)
    read_hashes = SourceHashes(source, partial(on_progress, "looking for copies"))
    with Writer(options.store, objects) as writer:
        writer.create(partial(describe_store, target, read_hashes))
        target = follow_precision(target)
        store = open_store(writer.open(), target)
        recorded = list_unreadable(store) if options.accept_unreadable else {}
        comparing = partial(on_progress, "comparing with the source")
        store, changes = update_table(store, target, share, writer, read_hashes, comparing)
        for remark in describe_training(source.name, store.samples, store.dataset, limited):
            if not is_new or remark not in remarks:
                on_remark(remark)
        started = time.perf_counter()
        filled = run_encoder(store, target, share, writer, on_progress, on_remark)
        seconds = time.perf_counter() - started
    summary = summarise(writer.open(), filled, seconds, changes, share, source, options)
    accepted = tuple(name for name, _ in summary.unreadable.items() & recorded.items())
    return replace(summary, created=is_new, accepted=accepted)


def update_table(
    store: Store,
    target: Target,
    share: Division,
    writer: Writer,
    read_hashes: ReadHashes,
    on_images: Callable[[int, int], None],
) -> tuple[Store, Changes]:
    """Give the store the sample table that follows from the source; also what has changed.

    Source bytes are compared by a single process alone, and not with ``assume_unchanged``; workers
    of one job all derive the same table from ids, and the first of them writes it. Raises
    SourceError where the table would part a group (unless ``allow_split_groups``).
    """
    options, source = target.options, target.source
    compared = share.size == 1 and not options.assume_unchanged
    while True:
        samples = fit_to_store(
            target.samples, source, store, options.reading.split_seed, read_hashes
        )
        changes = compare(samples, store)
        if compared and store.list_committed():
            changes = compare_bytes(changes, samples, source, store, on_images)
        elif not options.assume_unchanged:
            changes = replace(changes, uncompared=count_tried(store))
        table = make_next_table(samples, store, changes, options.prune, options.relabel)
        if table is not None and not options.allow_split_groups:
            refuse_split_groups(table, f"with the splits that {store.location} has, ")
        if table is None and not find_stale_metadata(store):
            return store, changes
        updated = writer.update_table(store, table)
        if updated is not None:
            return updated, changes
        store = writer.open()


def run_encoder(
    store: Store,
    target: Target,
    share: Division,
    writer: Writer,
    on_progress: OnProgress,
    on_remark: OnRemark,
) -> Filled:
    """Encode and commit the store's pending shards; what this process has committed."""
    options = target.options
    known = open_reusable(options.reuse, store.identity)
    if store.generation.number:  # the table has changed: images may have got new rows
        known.append(store)
    work = Work(
        store,
        target.source,
        find_places(store, target.samples),
        KnownRows(known),
        share,
        options.strict,
        partial=options.limit is not None,
    )
    with report_job_progress(store, share, on_progress) as progress:
        shard_encoder = open_shard_encoder(
            target.encoder,
            store.identity,
            options.device,
            options.batch_size,
            store.rows_per_shard,
            progress.add,
        )
        filled = fill(work, shard_encoder, writer, progress.wait_for)
    batch = shard_encoder.batch
    if filled.encoded and not batch.fixed:
        lanes = f", {batch.lanes} batches side by side" if batch.lanes > 1 else ""
        text = f"batch size that fits: {batch.size} on {shard_encoder.encoder.device}{lanes}"
        on_remark(Remark(text, "batch_size"))
    return filled
