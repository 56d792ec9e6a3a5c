"""``samcache cache repair``: restore what verify finds damaged, from the source and the encoder."""

from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from samcache.cache.claims import Claims
from samcache.cache.commits import Commit, ObjectRecord, commit_key, shard_name
from samcache.cache.create import write_metadata
from samcache.cache.description import ROOT
from samcache.cache.errors import CheckpointError, StoreError
from samcache.cache.layout import ArraySpec
from samcache.cache.reading import Reading
from samcache.cache.samples import generation_key, generation_objects, read_column
from samcache.cache.shards import DamagedShardError
from samcache.cache.store import ShardContent, Store
from samcache.cache.verify import Damage, open_damaged, verify
from samcache.extract.batch_size import BatchSize
from samcache.extract.colour import parse_window
from samcache.extract.division import Division
from samcache.extract.encoders import load_encoder
from samcache.extract.file_sources import SourceOptions
from samcache.extract.open_shard import ShardRows
from samcache.extract.open_source import open_source
from samcache.extract.pipeline import Work, fill
from samcache.extract.plan import with_the_stores_labels
from samcache.extract.pseudonyms import hashed_ids
from samcache.extract.recorded_reading import follow_reading, refuse_other_reading
from samcache.extract.reuse import KnownRows
from samcache.extract.rows import Row, read_row
from samcache.extract.run import open_device, source_places
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source
from samcache.extract.weights import official_checkpoint


@dataclass(frozen=True)
class RepairOptions:
    """The options of ``samcache cache repair``."""

    store: str | Path
    source: Path
    checkpoint: Path | None = None
    device: str = "cpu"
    batch_size: int | None = None  # None: what fits
    hash_ids: bool = False
    reading: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True)
class RepairSummary:
    """What was damaged, what was done, and what is still damaged."""

    damage: list[Damage]
    encoded: int  # images
    left: list[Damage]

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        return asdict(self)

    def text(self) -> str:
        """One line, and one more for each object that is still damaged."""
        mended = len(self.damage) - len(self.left)
        head = f"{len(self.damage)} objects were damaged, {mended} are repaired"
        lines = [f"{head}; {self.encoded} images encoded"]
        return "\n".join([*lines, *(f"  {one.key} {one.problem}" for one in self.left)])


def repair(options: RepairOptions, console: Console) -> RepairSummary:
    """Verify a store and restore all that the source can; raises SamcacheError.

    Intact rows of a damaged shard keep their bits. Rows whose bytes in the source are no longer
    those that were stored stay damaged, and are told.
    """
    store, damage = open_damaged(options.store)
    damage += verify(store)
    with Claims(store.objects) as claims:
        window = parse_window(store.identity.window)
        reading = replace(options.reading, window=window)
        recorded = Reading.recorded(store.provenance)
        source = open_source(options.source, follow_reading(reading, recorded, store.location))
        refuse_other_reading(source, store.provenance, store.location)
        samples = with_the_stores_labels(source.samples, source, store)
        if options.hash_ids:
            samples = hashed_ids(samples)
        _restore_records(store, damage)
        _restore_table(store, samples, damage)
        store = Store(options.store, store.objects)
        encoder = _EncoderOnDemand(store, source, samples, options, console)
        unsolved: list[Damage] = []
        for shard, found in _by_shard(store, damage).items():
            unsolved += _restore_shard(store, shard, found, encoder, claims)
        encoded = encoder.restored + encoder.fill_pending(claims)
    touched = [shard for shard in _by_shard(store, damage) if shard in store.committed()]
    left = verify(Store(options.store, store.objects), only=touched)
    known = {d.key for d in unsolved}
    return RepairSummary(damage, encoded, unsolved + [d for d in left if d.key not in known])


class _EncoderOnDemand:
    """The store's encoder, loaded when the first row needs it."""

    def __init__(
        self,
        store: Store,
        source: Source,
        samples: pd.DataFrame,
        options: RepairOptions,
        console: Console,
    ) -> None:
        self._store, self._source, self._options, self._console = store, source, options, console
        self._work = Work(store, source, source_places(store, samples), KnownRows(), Division())
        self._encoder: ShardEncoder | None = None
        self.restored = 0

    def encode(self, commit: Commit, numbers: set[int]) -> tuple[ShardContent, dict[int, str]]:
        """Encode some rows of a committed shard; the content, and why some could not be."""
        reasons, rows = {}, []
        for number in sorted(numbers):
            row = self._read(number)
            if row.sha256 != commit.sources[number - commit.rows[0]] or row.image is None:
                reasons[number] = row.reason or "the source has other bytes"
            else:
                rows.append(row)
        self.restored += len(rows)
        shard = ShardRows(commit.shard, commit.rows, rows)
        [full] = self._loaded().encode([shard])
        return full.content(), reasons

    def fill_pending(self, claims: Claims) -> int:
        """Encode the shards that have no commit; the images."""
        if not self._store.pending():
            return 0
        return fill(self._work, self._loaded(), claims, lambda _: None).encoded

    def _read(self, number: int) -> Row:
        place = dict(self._work.rows(number // self._store.rows_per_shard)).get(number, -1)
        if place < 0:
            return Row(number, "", reason="the source has no such sample")
        return read_row(self._source, place, number, KnownRows(), self._store.identity)

    def _loaded(self) -> ShardEncoder:
        if self._encoder is None:
            identity, options = self._store.identity, self._options
            checkpoint = options.checkpoint or official_checkpoint(identity.encoder)
            loaded = load_encoder(
                identity.encoder,
                checkpoint,
                identity.levels,
                identity.image_size,
                identity.precision,
            )
            if loaded.weights != identity.weights:
                raise CheckpointError(
                    f"{checkpoint} has SHA-256 {loaded.weights[:12]}…, the store was made with "
                    f"{identity.weights[:12]}…: give that file with --checkpoint"
                )
            device = open_device(options.device)
            self._encoder = ShardEncoder(
                loaded.model.to(device),
                device,
                identity,
                self._store.arrays,
                BatchSize.chosen(options.batch_size, device, self._store.rows_per_shard),
                lambda *_: None,
            )
        return self._encoder


def _restore_records(store: Store, damage: list[Damage]) -> None:
    """Root, sample record and metadata, from their spares and from what they follow from."""
    keys = {one.key for one in damage}
    if ROOT in keys:
        store.objects.put(ROOT, store.description.to_bytes())
    if generation_key(store.generation.number) in keys:
        key = generation_key(store.generation.number)
        store.objects.put(key, store.generation.to_bytes())
    write_metadata(store)


def _restore_table(store: Store, samples: pd.DataFrame, damage: list[Damage]) -> None:
    """Put back columns of the sample table; raises StoreError where the source has others."""
    number, records = store.generation.number, store.generation.objects
    broken = [one.key for one in damage if one.key in records]
    if not broken:
        return
    if not any("/id/" in key for key in broken):
        ids = read_column(store.objects, store.generation, "id")
        samples = samples.set_index("id").reindex(ids).reset_index()
        samples = samples.fillna({"label": -1, "split": "", "group": ""})
    fits = len(samples) == store.generation.count
    table = samples.assign(row=store.generation.rows) if fits else samples.assign(row=0)
    _, objects = generation_objects(number, table, store.generation.extent)
    for key in broken:
        if ObjectRecord.of(objects[key]) != records[key]:
            raise StoreError(
                f"{key} cannot be restored: the source has another table than the one that was "
                "stored: give the source, and its options, as they were"
            )
        store.objects.put(key, objects[key])


def _by_shard(store: Store, damage: list[Damage]) -> dict[int, list[Damage]]:
    """Damage to arrays and commit records, by shard."""
    found = defaultdict(list)
    for one in damage:
        if one.rows:
            found[one.rows[0] // store.rows_per_shard].append(one)
    return found


def _restore_shard(
    store: Store, shard: int, damage: list[Damage], encoder: _EncoderOnDemand, claims: Claims
) -> list[Damage]:
    """Mend one shard under a claim; what could not be.

    A shard whose record is lost is encoded anew, whole. Otherwise damaged objects are written over,
    and then the record if an object came out with other bits: stopped in between, the shard is
    still damaged and can be repaired again.
    """
    name = shard_name(shard)
    if claims.take(name) is None:
        return [replace(one, problem="is being written by another process") for one in damage]
    try:
        if any(one.key == commit_key(shard) for one in damage):
            store.objects.delete([commit_key(shard)])
            return []
        commit = store.read_commit(shard)
        damaged = {one.key: set(one.rows) for one in damage}
        rows = {row for one in damage for row in one.rows} - {*commit.failures, *commit.holes}
        fresh, reasons = encoder.encode(commit, rows)
        blocks = {
            path: _mended(store, spec, commit, damaged.get(spec.key(shard)), fresh.blocks[path])
            for path, spec in store.arrays.items()
        }
        if reasons:
            return _unsolved(store, damage, reasons)
        content = ShardContent(blocks, commit.sources, commit.failures, commit.holes)
        record, objects = store.encode(shard, content)
        for key in damaged:
            store.objects.put(key, objects[key])
        if record.objects != commit.objects:
            store.objects.put(commit_key(shard), record.to_bytes())
        return []
    finally:
        claims.release(name)


def _mended(
    store: Store,
    spec: ArraySpec,
    commit: Commit,
    damaged: set[int] | None,
    fresh: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """One array's rows of a shard: those that stand, with the damaged ones encoded anew."""
    start, stop = commit.rows
    block = np.zeros((stop - start, *spec.row), spec.dtype)
    with suppress(DamagedShardError, FileNotFoundError, ValueError):  # verify named these rows
        store.read_shard(spec, commit.shard, commit.present(store.rows_per_shard), block)
    places = [row - start for row in sorted(damaged or ())]
    block[places] = fresh[places]
    return block


def _unsolved(store: Store, damage: list[Damage], reasons: dict[int, str]) -> list[Damage]:
    names = store.table.set_index("row")["id"]
    row, reason = next(iter(reasons.items()))
    text = f"cannot be restored: {names.get(row, row)}: {reason}"
    return [replace(one, problem=text) for one in damage]
