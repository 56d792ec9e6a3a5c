"""``samcache cache repair``: restore what verify finds damaged, from the source and the encoder."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from samcache.cache.care.damage.open_damaged import Damage, open_damaged
from samcache.cache.care.damage.restore import restore_columns, restore_records, write_spares
from samcache.cache.care.verify import verify
from samcache.cache.commit import Writer
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import ObjectRecord, make_commit_key, make_spare_key
from samcache.cache.format.pixel_options import PixelOptions
from samcache.cache.format.samples import (
    NO_LABEL,
    list_kept,
    make_generation_objects,
    read_column,
)
from samcache.cache.store import Store
from samcache.extract.changes import find_places, use_store_labels
from samcache.extract.encoders.of_identity import GivenEncoder
from samcache.extract.images.colour import parse_window
from samcache.extract.pipeline.repair_shard import EncoderOnDemand, ShardRepair
from samcache.extract.sources.base import Source
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.extract.sources.pseudonyms import hash_ids_in
from samcache.extract.sources.recorded_reading import follow_reading, refuse_other_reading


@dataclass(frozen=True)
class RepairOptions:
    """The options of ``samcache cache repair``."""

    store: str | Path
    source: Path
    checkpoint: Path | None = None
    code: str = ""  # the name of an encoder of the user's own, which may be imported
    device: str = "auto"
    batch_size: int | None = None  # None: what fits
    hash_ids: bool = False
    discard: bool = False
    reading: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True)
class RepairSummary:
    """What was damaged, what was done, and what is still damaged."""

    damage: list[Damage]
    encoded: int  # images
    discarded: int  # images
    left: list[Damage]


def repair(options: RepairOptions) -> RepairSummary:
    """Verify a store and restore all that can be restored; raises SamcacheError.

    Spares and checksums come first, then source and encoder. Intact rows keep their bits. Nothing
    is removed before its replacement is written. Rows that the source lacks, or has with other
    bytes, stay as they are; with ``discard`` they are marked as unreadable.
    """
    store, damage = open_damaged(options.store)
    damage += verify(store)
    store = restore_records(store, damage)
    broken = restore_columns(store, damage)
    source = _open_source(store, options, broken)
    samples = use_store_labels(source.samples, source, store)
    if options.hash_ids:
        samples = hash_ids_in(samples)
    _restore_columns(store, samples, broken)
    store = Store(options.store, store.objects)
    encoder = _make_encoder(store, source, samples, options)
    shards = _list_damaged_shards(store, damage)
    with Writer(options.store, store.objects) as writer:
        repairs = [ShardRepair(store, shard, encoder, options.discard) for shard in shards]
        unsolved = [one for each in repairs for one in each.run(writer)]
        write_spares(store)
    left = verify(Store(options.store, store.objects), only=_select_committed(store, shards))
    known = {one.key for one in unsolved}
    return RepairSummary(
        damage,
        encoder.encoded,
        sum(each.discarded for each in repairs),
        unsolved + [one for one in left if one.key not in known],
    )


def _open_source(store: Store, options: RepairOptions, broken: list[str]) -> Source:
    """The source, read as the store's images were; raises SourceError where it cannot be."""
    reading = replace(
        options.reading,
        window=parse_window(store.identity.window),
        keep_columns=store.generation.kept if broken else (),
        no_labels=options.reading.no_labels or not store.dataset.classes,
    )
    recorded = PixelOptions.from_record(store.provenance)
    source = open_source(options.source, follow_reading(reading, recorded, store.location))
    refuse_other_reading(source, store.provenance, store.location)
    return source


def _list_damaged_shards(store: Store, damage: list[Damage]) -> list[int]:
    """Shards whose rows, commit record or spare is damaged, in order."""
    keys = {one.key for one in damage}
    of_rows = {row // store.rows_per_shard for one in damage for row in one.rows}
    records = {
        s for s in range(store.layout.shards) if {make_commit_key(s), make_spare_key(s)} & keys
    }
    return sorted(of_rows | records)


def _select_committed(store: Store, shards: list[int]) -> list[int]:
    committed = set(store.list_committed())
    return [shard for shard in shards if shard in committed]


def _make_encoder(
    store: Store, source: Source, samples: pd.DataFrame, options: RepairOptions
) -> EncoderOnDemand:
    return EncoderOnDemand(
        store,
        source,
        dict(zip(store.table["row"].tolist(), find_places(store, samples).tolist(), strict=True)),
        GivenEncoder(options.checkpoint, options.code),
        options.device,
        options.batch_size,
    )


def _restore_columns(store: Store, samples: pd.DataFrame, broken: list[str]) -> None:
    """Put back columns of the sample table; raises StoreError where the source has others."""
    if not broken:
        return
    generation = store.generation
    if not any("/id/" in key for key in broken):
        ids = read_column(store.objects, generation, "id")
        samples = samples.set_index("id").reindex(ids).reset_index()
        texts = dict.fromkeys(["split", "group", *list_kept(samples)], "")
        samples = samples.fillna({"label": NO_LABEL, **texts})
    fits = len(samples) == generation.count
    table = samples.assign(row=generation.rows) if fits else samples.assign(row=0)
    _, objects = make_generation_objects(
        generation.number, table, generation.extent, generation.folder
    )
    for key in broken:
        if ObjectRecord.of(objects[key]) != generation.objects[key]:
            raise StoreError(
                f"{key} cannot be restored: the source gives another table than the stored table: "
                "give the original source and options"
            )
        store.objects.put(key, objects[key])
