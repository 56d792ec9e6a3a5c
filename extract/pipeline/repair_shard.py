"""The repair of one shard: whole rows stay, damaged ones are encoded again from the same bytes."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.care.damage.open_damaged import Damage
from samcache.cache.care.damage.restore import correct_object, restore_commit_record
from samcache.cache.care.verify import verify
from samcache.cache.claims import Claim
from samcache.cache.commit import Writer, encode_content, remove_commit, replace_objects
from samcache.cache.errors import OvertakenError, StoreError
from samcache.cache.format.commit_record import Commit, make_commit_key, make_spare_key
from samcache.cache.format.layout import IMAGES, STATISTICS, ArraySpec
from samcache.cache.format.shards import DamagedShardError, ShardBuffers
from samcache.cache.store import ShardContent, Store
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.pipeline.open_shard import ShardRows
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.read.rows import GONE, Row, read_row
from samcache.extract.pipeline.shard_encoder import ShardEncoder, open_shard_encoder
from samcache.extract.sources.base import Source

Array = npt.NDArray[Any]

_ABSENT = "the source has no such sample"
_OTHER = "the source has other bytes"
_ANOTHER_PICTURE = 0.05  # of the largest statistic; rounding on another machine is far below


@dataclass
class EncoderOnDemand:
    """The store's encoder, loaded when the first row needs it, and the source it reads from.

    places: row of the store -> place in the source, -1 where the source has no such sample.
    """

    store: Store
    source: Source
    places: dict[int, int]
    given: GivenEncoder
    device: str
    batch_size: int | None
    encoded: int = 0  # images
    _encoder: ShardEncoder | None = field(default=None, init=False)

    def find_rows(self, shard: int) -> list[int]:
        """Find the rows of a shard that hold a sample."""
        return [row for row in range(*self.store.layout.find_rows(shard)) if row in self.places]

    def read(self, number: int) -> Row:
        """Read a row of the source, with the reason if it cannot be read or is missing."""
        place = self.places.get(number, -1)
        if place < 0:
            return Row(number, "", reason=_ABSENT)
        return read_row(self.source, place, number, KnownRows(), self.store.identity)

    def encode(self, shard: int, span: tuple[int, int], rows: list[Row]) -> ShardContent:
        """Encode some rows of a shard; returns the content, whose other rows are holes.

        Raises CheckpointError where the checkpoint is not the store's.
        """
        [full] = self._open_encoder().encode([ShardRows(shard, span, rows)])
        self.encoded += sum(row.image is not None for row in rows)
        return full.make_content()

    def _open_encoder(self) -> ShardEncoder:
        if self._encoder is None:
            identity = self.store.identity
            self._encoder = open_shard_encoder(
                load_encoder_of(identity, self.given),
                identity,
                self.device,
                self.batch_size,
                self.store.rows_per_shard,
            )
        return self._encoder


class _UnrestorableError(Exception):
    """Rows that the source cannot give back; ``reasons`` says why, by row."""

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__()
        self.reasons = reasons


class ShardRepair:
    """Repairs one shard under a claim, from what stands there once the claim is held."""

    def __init__(self, store: Store, shard: int, encoder: EncoderOnDemand, discard: bool) -> None:
        """discard: whether rows that cannot be restored are given up."""
        self._store, self._shard = store, shard
        self._encoder, self._discard = encoder, discard
        self._damage: list[Damage] = []
        self.discarded = 0  # images

    def run(self, writer: Writer) -> list[Damage]:
        """Restore the shard; returns what was not restored. Raises CheckpointError, SourceError."""
        self._damage = verify(self._store, only=[self._shard])
        claim = writer.claim(self._shard)
        if claim is None:
            return self._describe_left("is being written by another process")
        with claim:
            try:
                self._restore(claim)
            except _UnrestorableError as error:
                row, reason = next(iter(error.reasons.items()))
                names = self._store.table.set_index("row")["id"]
                return self._describe_left(f"cannot be restored: {names.get(row, row)}: {reason}")
            except OvertakenError:
                return self._describe_left("was taken over by another process")
        return []

    def _describe_left(self, problem: str) -> list[Damage]:
        return [replace(one, problem=problem) for one in self._damage]

    def _restore(self, claim: Claim) -> None:
        store, shard = self._store, self._shard
        if restore_commit_record(store, shard, claim):
            commit = store.read_commit(shard)
            self._damage = self._correct_bits(commit)
            if self._damage:
                self._write(self._encode_damaged(commit), claim)
            return
        try:
            self._write(self._rebuild_shard(), claim)
        except _UnrestorableError:
            if not self._discard:
                raise
            claim.check()
            self.discarded = len(self._encoder.find_rows(shard))
            remove_commit(store, shard)

    def _correct_bits(self, commit: Commit) -> list[Damage]:
        """Correct what the shard's own checksums can; returns the remaining damage."""
        specs = {spec.make_key(self._shard): spec for spec in self._store.arrays.values()}
        return [
            one
            for one in verify(self._store, only=[self._shard])
            if one.key not in specs or not correct_object(self._store, specs[one.key], commit)
        ]

    def _encode_damaged(self, commit: Commit) -> ShardContent:
        """Encode a shard's damaged rows again; all other rows keep their bits.

        Raises _UnrestorableError where the source lacks one of them or has other bytes.
        """
        rows = {row for one in self._damage for row in one.rows}
        read = [self._encoder.read(row) for row in sorted(rows - {*commit.failures, *commit.holes})]
        start, _ = commit.rows
        reasons = {
            row.number: row.reason or _OTHER
            for row in read
            if row.image is None or row.sha256 != commit.sources[row.number - start]
        }
        if reasons and not self._discard:
            raise _UnrestorableError(reasons)
        self.discarded = len(reasons)
        fresh = self._encoder.encode(
            commit.shard, commit.rows, [row for row in read if row.number not in reasons]
        )
        blocks = {}
        for path, spec in self._store.arrays.items():
            block, _ = self._read_standing(spec, commit)
            damaged = next(
                (d.rows for d in self._damage if d.key == spec.make_key(commit.shard)), ()
            )
            places = [row - start for row in damaged]
            block[places] = fresh.blocks[path][places]
            blocks[path] = block
        failures = {**commit.failures, **dict.fromkeys(reasons, GONE)}
        return ShardContent(blocks, commit.sources, failures, commit.holes)

    def _rebuild_shard(self) -> ShardContent:
        """Rebuild a shard whose commit record is lost from the source; intact rows keep their bits.

        Raises _UnrestorableError where the source lacks a sample or shows another picture.
        """
        rows = [self._encoder.read(row) for row in self._encoder.find_rows(self._shard)]
        absent = {row.number: _ABSENT for row in rows if row.reason == _ABSENT}
        if absent:
            raise _UnrestorableError(absent)
        span = self._store.layout.find_rows(self._shard)
        fresh = self._encoder.encode(self._shard, span, rows)
        commit = Commit(self._shard, span, {}, fresh.sources, fresh.failures, fresh.holes)
        blocks, others = {}, set[int]()
        for path, spec in self._store.arrays.items():
            block, whole = self._read_standing(spec, commit)
            others |= {span[0] + place for place in whole if _differs(path, block, fresh, place)}
            blocks[path] = np.where(_make_column_mask(whole, block), block, fresh.blocks[path])
        if others:
            raise _UnrestorableError(dict.fromkeys(sorted(others), _OTHER))
        return replace(fresh, blocks=blocks)

    def _read_standing(self, spec: ArraySpec, commit: Commit) -> tuple[Array, list[int]]:
        """Read the shard's present rows of an array, and the places whose checksums match."""
        start, stop = commit.rows
        block = np.zeros((stop - start, *spec.row), spec.dtype)
        present = commit.mark_present(self._store.rows_per_shard)
        places = np.flatnonzero(present).tolist()
        buffers = ShardBuffers(block, present)
        try:
            self._store.objects.read_into(spec.make_key(self._shard), buffers.open_views())
            buffers.check_rows()
        except DamagedShardError as error:
            return block, [place for place in places if place not in error.places]
        except (FileNotFoundError, ValueError):
            return block, []
        return block, places

    def _write(self, content: ShardContent, claim: Claim) -> None:
        """Write the objects that differ from the present ones, the commit record and spare last."""
        record, objects = encode_content(self._store, self._shard, content)
        data = self._find_standing_record(record) or record.to_bytes()
        objects |= {make_commit_key(self._shard): data, make_spare_key(self._shard): data}
        replace_objects(self._store, objects, claim)

    def _find_standing_record(self, record: Commit) -> bytes | None:
        """Find the bytes of the present commit record, if it says the same as another."""
        data = self._store.objects.find(make_commit_key(self._shard))
        try:
            standing = self._store.parse_commit(data or b"", self._shard)
        except StoreError:
            return None
        return data if replace(standing, written=record.written) == record else None


def _differs(path: str, block: Array, fresh: ShardContent, place: int) -> bool:
    """Whether a whole row shows another picture than the one that was encoded again."""
    before, after = block[place], fresh.blocks[path][place]
    if path == IMAGES:
        return not np.array_equal(before, after)
    if path == STATISTICS:
        return bool(np.abs(before - after).max() > _ANOTHER_PICTURE * np.abs(before).max())
    return False


def _make_column_mask(places: list[int], block: Array) -> npt.NDArray[np.bool_]:
    """True at some places, in a shape that goes with a block's, (n, 1, …)."""
    mask = np.zeros(len(block), np.bool_)
    mask[places] = True
    return mask.reshape(-1, *(1 for _ in block.shape[1:]))
