"""Commit records: what makes a shard exist. Written last, as one object; no commit, no data."""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from samcache.cache.errors import StoreError


@dataclass(frozen=True)
class ObjectRecord:
    """Size in bytes and SHA-256 (hex) of one object as it stands in the store."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """One finished shard: its rows, its objects, and what became of each image.

    ``sources`` holds a SHA-256 (hex) of every row's source bytes, empty where none could be had;
    ``failures`` gives the reason for each row whose image could not be read.
    """

    shard: int
    rows: tuple[int, int]  # first row, one past the last
    objects: dict[str, ObjectRecord]
    sources: tuple[str, ...]
    failures: dict[int, str] = field(default_factory=dict)
    written: float = 0.0  # seconds since 1970; provenance

    def to_bytes(self) -> bytes:
        """The record as the metadata of a Zarr group, so that any Zarr reader accepts it."""
        attributes = {**asdict(self), "written": round(time.time(), 3)}
        node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return json.dumps(node).encode()

    @classmethod
    def from_bytes(cls, data: bytes, shard: int) -> "Commit":
        """Parse and check a record; raises StoreError naming the shard where it is damaged."""
        try:
            return _parse(json.loads(data)["attributes"], shard)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"commit record of shard {shard} is damaged ({error}): "
                f"delete commits/{shard_name(shard)} and run extract again to encode it anew"
            ) from error


def shard_name(shard: int) -> str:
    """The shard's folder under ``commits/``, padded so that listings sort."""
    return f"{shard:08d}"


def commit_key(shard: int) -> str:
    """The object that holds a shard's commit record."""
    return f"commits/{shard_name(shard)}/zarr.json"


def _parse(value: dict[str, Any], shard: int) -> Commit:
    start, stop = (int(row) for row in value["rows"])
    objects = {
        str(key): ObjectRecord(int(entry["bytes"]), str(entry["sha256"]))
        for key, entry in value["objects"].items()
    }
    sources = tuple(str(digest) for digest in value["sources"])
    failures = {int(row): str(reason) for row, reason in value["failures"].items()}
    if value["shard"] != shard or len(sources) != stop - start or start < 0:
        raise ValueError("its rows do not belong to this shard")
    if any(not start <= row < stop for row in failures):
        raise ValueError("it names rows outside the shard")
    return Commit(shard, (start, stop), objects, sources, failures, float(value["written"]))
