"""Commit records: a shard exists when its record does, which is written last, as one object.

Every record has a spare, written after it, which never makes a shard exist by itself.
"""

import base64
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samcache.cache.errors import StoreError
from samcache.cache.files.typed_json import Count, Moment, Text, convert, escape_surrogates
from samcache.cache.format.records import compute_checksum, seal, unseal

Bytes: TypeAlias = bytes  # the record's own field hides the name


@dataclass(frozen=True)
class ObjectRecord:
    """Size in bytes and checksum (XXH3, 128 bits, hex) of one object in the store."""

    bytes: Count
    checksum: Text

    @classmethod
    def of(cls, data: Bytes) -> "ObjectRecord":
        """The record of these bytes."""
        return cls(len(data), compute_checksum(data))


@dataclass(frozen=True)
class Commit:
    """One finished shard: its rows, its objects, and the outcome of each image.

    ``sources`` holds a SHA-256 (hex) of every row's source bytes, empty where none could be had;
    ``failures`` gives the reason for each row whose image could not be read, ``holes`` the rows
    that no sample has. Neither has data. ``row_sums`` holds the CRC32C of every row with data by
    object, (p, 4) uint8 as bytes, so that a row that is read alone is known to be the one that was
    committed; empty in records that were written before it was kept.
    """

    shard: Count
    rows: tuple[Count, Count]  # first row, one past the last
    objects: dict[Text, ObjectRecord]
    sources: tuple[Text, ...]
    failures: dict[Count, str] = field(default_factory=dict)
    holes: tuple[Count, ...] = ()
    written: Moment = 0  # provenance
    row_sums: dict[Text, Bytes] = field(default_factory=dict)

    def mark_present(self, rows_per_shard: int) -> npt.NDArray[np.bool_]:
        """For each of the shard's R places whether it holds data, (R,) bool."""
        start, stop = self.rows
        mask = np.arange(rows_per_shard) < stop - start
        mask[[row - start for row in (*self.failures, *self.holes)]] = False
        return mask

    def to_bytes(self) -> bytes:
        """The sealed record; the time of writing is now."""
        content = asdict(replace(self, written=int(time.time())))
        sums = {key: base64.b64encode(data).decode() for key, data in self.row_sums.items()}
        return seal({**content, "row_sums": sums})

    @classmethod
    def from_bytes(cls, data: bytes, shard: int) -> "Commit":
        """Parse and check a record; raises StoreError naming the shard where it is damaged."""
        try:
            return _parse(unseal(data), shard)
        except ValueError as error:
            raise StoreError(
                f"commit record of shard {shard} is damaged ({error}): run samcache cache repair"
            ) from None


def make_shard_name(shard: int) -> str:
    """The shard's folder under ``commits/``, padded so that listings sort."""
    return f"{shard:08d}"


def make_commit_key(shard: int) -> str:
    """The object that holds a shard's commit record."""
    return f"commits/{make_shard_name(shard)}/zarr.json"


def make_spare_key(shard: int) -> str:
    """The object that holds the spare of a shard's commit record."""
    return f"commits/{make_shard_name(shard)}/spare/zarr.json"


def _parse(value: dict[str, Any], shard: int) -> Commit:
    commit = convert(value, Commit)
    start, stop = commit.rows
    if commit.shard != shard or len(commit.sources) != stop - start:
        raise ValueError("its rows do not belong to this shard")
    if any(not start <= row < stop for row in (*commit.failures, *commit.holes)):
        raise ValueError("it names rows outside the shard")
    reasons = {row: escape_surrogates(text) for row, text in commit.failures.items()}
    return replace(commit, failures=reasons)
