"""Write a store: create it, change its table, and commit shards, each under a claim.

A commit writes the objects of a shard first and its commit record last; the record makes the shard
exist. Objects are created, never overwritten: only what a dead writer left is replaced, and only
while the claim is ours. A claim can be lost to another process while this one sleeps, so every
commit asks before its record is written and after.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from samcache.cache.claims import Claim, Claims
from samcache.cache.create import (
    TABLE,
    add_generation,
    create_store,
    store_exists,
    write_metadata,
)
from samcache.cache.errors import OvertakenError, StoreError
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_shard_name,
    make_spare_key,
)
from samcache.cache.format.description import Description
from samcache.cache.format.shards import compute_row_sums, encode_shard
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import ShardContent, Store

StillOurs = Callable[[], bool]  # whether this process holds the newest claim on the shard

_PATIENCE = 0.5  # seconds between looks at a table that another process is writing
_REPLACEMENTS = 3  # of one object that a dead writer left


class Writer:
    """This process's writing in one store; claims are renewed until the context ends."""

    def __init__(self, location: str | Path, objects: Objects | None = None) -> None:
        """location: a folder or URL, where a store is or shall be."""
        self.location = location
        self.objects = objects or open_objects(location)
        self._claims = Claims(self.objects)

    def __enter__(self) -> "Writer":
        self._claims.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._claims.__exit__(*error)

    def open(self) -> Store:
        """Open the store as it is now."""
        return Store(self.location, self.objects)

    def claim(self, shard: int) -> Claim | None:
        """Claim a shard; None while another process writes it."""
        return self._claims.take(make_shard_name(shard))

    def claim_pending(self, store: Store, shard: int) -> Claim | None:
        """Claim a shard that is not committed; None also where its spare record restores it."""
        claim = self.claim(shard)
        if claim is None:
            return None
        if self.objects.find_size(make_commit_key(shard)) is None and not restore_commit(
            store, shard
        ):
            return claim
        claim.release()
        return None

    def claim_table(self) -> Claim:
        """Claim the table and metadata; raises StoreError while another process writes them."""
        claim = self._claims.take(TABLE)
        if claim is None:
            raise StoreError(
                f"{self.objects.name} is being created or changed by another process: run the "
                "command again when that process has finished"
            )
        return claim

    def create(self, describe: Callable[[], tuple[Description, pd.DataFrame]]) -> None:
        """Create the store unless it exists; waits while another process creates it.

        describe: gives description and samples as ``create_store`` takes them; called only by a
        process that holds the claim.
        """
        while not store_exists(self.objects):
            claim = self._claims.take(TABLE)
            if claim is None:
                time.sleep(_PATIENCE)
                continue
            with claim:
                if not store_exists(self.objects):
                    create_store(self.location, self.objects, *describe())

    def update_table(self, store: Store, samples: pd.DataFrame | None) -> Store | None:
        """Give the store a new sample table; None where another process was first: look again.

        samples: as ``add_generation`` takes them. None completes the metadata of the newest table,
        which a process that was killed may have left behind.
        """
        claim = self._claims.take(TABLE)
        if claim is None:
            time.sleep(_PATIENCE)
            return None
        with claim:
            try:
                return write_metadata(store) if samples is None else add_generation(store, samples)
            except OvertakenError:
                return None


def commit_shard(
    store: Store, shard: int, content: ShardContent, still_ours: StillOurs = lambda: True
) -> bool:
    """Write a shard's objects and, last, its commit record; False where another record exists."""
    record, objects = encode_content(store, shard, content)
    return commit_objects(store, record, record.to_bytes(), objects.items(), still_ours)


def commit_objects(
    store: Store,
    record: Commit,
    record_bytes: bytes,
    objects: Iterable[tuple[str, bytes]],
    still_ours: StillOurs,
) -> bool:
    """Write the objects (key, bytes) of a commit record, then the record, as ``commit_shard``."""
    shard = record.shard
    placed = all(_create_object(store, shard, key, data, still_ours) for key, data in objects)
    if placed and still_ours():
        created = store.objects.create(make_commit_key(shard), record_bytes)
        if created and still_ours():
            store.objects.put(make_spare_key(shard), record_bytes)
            return True
    standing = remove_unmatched_commit(store, shard)
    return standing is not None and standing.objects == record.objects


def encode_content(
    store: Store, shard: int, content: ShardContent
) -> tuple[Commit, dict[str, bytes]]:
    """A shard's commit record and its objects by key; writes nothing."""
    start, _ = store.layout.find_rows(shard)
    rows = start, start + len(content.sources)
    commit = Commit(shard, rows, {}, content.sources, content.failures, content.holes)
    present = commit.mark_present(store.rows_per_shard)
    objects = {
        spec.make_key(shard): encode_shard(content.blocks[path].astype(spec.dtype), present)
        for path, spec in store.arrays.items()
    }
    records = {key: ObjectRecord.of(data) for key, data in objects.items()}
    sums = {
        spec.make_key(shard): compute_row_sums(
            objects[spec.make_key(shard)], present, spec.row_bytes
        )
        for spec in store.arrays.values()
    }
    return replace(commit, objects=records, row_sums=sums), objects


def _create_object(store: Store, shard: int, key: str, data: bytes, still_ours: StillOurs) -> bool:
    """Create one object of a shard; False where the shard is lost to another process.

    An object that a dead writer left is replaced, unless it has the same bytes.
    """
    if store.objects.create(key, data):
        return True
    for _ in range(_REPLACEMENTS):
        if store.objects.find_size(make_commit_key(shard)) is not None or not still_ours():
            return False
        store.objects.delete([key])
        if store.objects.create(key, data):
            return True
    return False


def remove_unmatched_commit(store: Store, shard: int) -> Commit | None:
    """Find a shard's commit record; remove a record that does not match its objects.

    A writer that slept through its claim may have replaced an object, or written its record too
    late. The process that detects this removes the record, so that the shard is pending again.
    Returns None for a shard without a record.
    """
    standing = store.find_commit(shard)
    if standing is None or store.is_whole(standing):
        return standing
    remove_commit(store, shard)
    return store.find_commit(shard)


def remove_commit(store: Store, shard: int) -> None:
    """Remove a shard's record and spare; a spare that matches, of a faster process, is restored."""
    store.objects.delete([make_commit_key(shard)])
    if not restore_commit(store, shard):
        store.objects.delete([make_spare_key(shard)])


def restore_commit(store: Store, shard: int) -> bool:
    """Restore a lost commit record from a spare that every object matches; under a claim."""
    spare = store.objects.find(make_spare_key(shard), LARGEST_RECORD)
    commit = store.parse_if_readable(spare, shard)
    whole = commit is not None and store.is_whole(commit)
    return whole and store.objects.create(make_commit_key(shard), spare or b"")


def replace_objects(store: Store, objects: Mapping[str, bytes], claim: Claim) -> None:
    """Write the objects, by key, that differ from the store's; raises OvertakenError."""
    for key, data in objects.items():
        if store.objects.find(key) != data:
            claim.check()
            store.objects.put(key, data)
