"""Shards from one store to another: every object checked before it is written and on arrival.

A shard is copied under a claim at the destination, its objects first and its commit record last,
byte for byte the source's. So a copy that is cut off lacks shards and is a store all the same, and
two copies into one destination share the work.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from samcache.cache.claims import Claim
from samcache.cache.commit import Writer
from samcache.cache.errors import OvertakenError, StoreError
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_spare_key,
)
from samcache.cache.format.shards import count_shard_bytes
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.store import Store

_LOOKS = 2  # at an object of the source, before it is called damaged
_TRIES = 3  # of sending one object
_MEMORY = 1 << 29  # bytes of objects on their way at one time
_COPIES = 2  # of an object in memory: the library's and ours


class DamageFoundError(Exception):
    """An object that is missing or differs from its record; ``problem`` has the reason."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key} {problem}")
        self.key = key
        self.problem = problem


@dataclass(frozen=True)
class Outcome:
    """The outcome of one shard."""

    shard: int
    bytes: int = 0  # that were sent
    stood: bool = False  # another process had copied all of it
    busy: bool = False  # another process is writing it
    damaged: dict[str, str] = field(default_factory=dict)  # key -> what is wrong with it


@dataclass(frozen=True)
class _Record:
    """A commit record of the source, and whether the destination has it already."""

    data: bytes
    commit: Commit
    stands: bool


class Transfer:
    """Copies shards of one store into another that has the table and root record."""

    def __init__(self, source: Store, writer: Writer) -> None:
        self._source = source
        self._destination = writer.objects
        self._writer = writer
        self._sizes = self._destination.list_objects("")
        self._memory = _Memory(_MEMORY)
        self._stopped = threading.Event()
        self.on_bytes: Callable[[int], None] = lambda _: None

    def count_lacking_bytes(self, shard: int) -> int | None:
        """Bytes of a shard that the destination lacks: 0 where all is there, None for no commit.

        Sizes are compared, not content. Raises DamageFoundError where the record is damaged.
        """
        record = self._record(shard)
        if record is None:
            return None
        if record.stands and _is_complete(record.commit, self._sizes):
            if make_spare_key(shard) not in self._sizes:
                self._destination.put(
                    make_spare_key(shard), self._destination.get(make_commit_key(shard))
                )
            return 0
        return sum(entry.bytes for entry in record.commit.objects.values())

    def copy(self, shard: int) -> Outcome:
        """Copy one shard; raises StoreError where either side cannot be reached."""
        claim = self._writer.claim(shard)
        if claim is None:
            return Outcome(shard, busy=True)
        with claim:
            try:
                return self._copy_claimed(shard, claim)
            except DamageFoundError as error:
                return Outcome(shard, damaged={error.key: error.problem})
            except OvertakenError:
                return Outcome(shard, busy=True)

    def stop(self) -> None:
        """Let no thread begin another object."""
        self._stopped.set()

    def _copy_claimed(self, shard: int, claim: Claim) -> Outcome:
        record = self._record(shard)
        if record is None or (record.stands and make_commit_key(shard) not in self._sizes):
            return Outcome(shard, stood=True)
        sent: dict[str, int] = {}
        damaged: dict[str, str] = {}
        for key, entry in record.commit.objects.items():
            if self._stopped.is_set():
                raise StoreError("the copy was stopped: run it again to continue")
            try:
                with self._memory.hold(entry.bytes * _COPIES):
                    if damaged:
                        fetch(self._source.objects, key, entry)  # is it damaged too?
                    elif not self._has(key, entry):
                        self._send(key, entry, record, claim)
                        sent[key] = entry.bytes
            except DamageFoundError as error:
                damaged[error.key] = error.problem
            self.on_bytes(entry.bytes)
        if damaged:
            self._take_back(sent, record, claim)
            return Outcome(shard, damaged=damaged)
        if not record.stands:
            self._commit(record, claim)
        return Outcome(shard, sum(sent.values()))

    def _take_back(self, keys: Iterable[str], record: _Record, claim: Claim) -> None:
        """Remove what was sent of a shard that cannot be committed.

        Where another process has committed it while this one slept, it is sent once more.
        """
        shard = record.commit.shard
        uncommitted = self._destination.find_size(make_commit_key(shard)) is None
        if uncommitted and claim.is_ours():
            self._destination.delete(keys)
            if self._destination.find_size(make_commit_key(shard)) is not None:
                for key in keys:
                    entry = record.commit.objects[key]
                    self._destination.create(key, fetch(self._source.objects, key, entry))

    def _record(self, shard: int) -> _Record | None:
        """The source's record, None where the shard is not committed."""
        key = make_commit_key(shard)
        data = self._source.objects.find(key, LARGEST_RECORD)
        if data is None:
            return None
        try:
            commit = self._source.parse_commit(data, shard)
        except StoreError as error:
            raise DamageFoundError(key, f"is damaged: {error}") from None
        standing = self._destination.find(key, LARGEST_RECORD)
        if standing is not None and standing != data and not _is_same_shard(standing, commit):
            raise DamageFoundError(
                key, "differs at the destination: delete it there to copy the source's shard"
            )
        return _Record(data, commit, standing is not None)

    def _has(self, key: str, entry: ObjectRecord) -> bool:
        """Whether the destination had this very object before the copy began."""
        return self._sizes.get(key) == entry.bytes and is_at(self._destination, key, entry)

    def _send(self, key: str, entry: ObjectRecord, record: _Record, claim: Claim) -> None:
        for _ in range(_TRIES):
            self._put(key, fetch(self._source.objects, key, entry), record, claim)
            if is_at(self._destination, key, entry):
                return
            self._remove(key, record, claim)
        raise DamageFoundError(key, "arrived with other bytes than were sent")

    def _put(self, key: str, data: bytes, record: _Record, claim: Claim) -> None:
        """Create an object, in place of one that a dead writer left or that was damaged."""
        while not self._destination.create(key, data):
            self._remove(key, record, claim)

    def _remove(self, key: str, record: _Record, claim: Claim) -> None:
        """Remove an object; raises OvertakenError where the shard is another process's now."""
        shard = record.commit.shard
        standing = self._destination.find(make_commit_key(shard), LARGEST_RECORD)
        if standing is not None and not _is_same_shard(standing, record.commit):
            raise OvertakenError(f"shard {shard} was committed by another process")
        claim.check()
        self._destination.delete([key])

    def _commit(self, record: _Record, claim: Claim) -> None:
        shard, key = record.commit.shard, make_commit_key(record.commit.shard)
        for _ in range(_TRIES):
            claim.check()
            created = self._destination.create(key, record.data)
            if self._destination.find(key) == record.data:
                self._destination.put(make_spare_key(shard), record.data)
                return
            if not created:
                raise OvertakenError(f"shard {shard} was committed by another process")
            self._destination.delete([key])
        raise DamageFoundError(key, "arrived with other bytes than were sent")


def count_committed_bytes(store: Store, shards: Iterable[int]) -> int:
    """Bytes of the objects of some shards, were every image in them readable; reads nothing."""
    size, total = store.rows_per_shard, 0
    by_rows: dict[int, int] = {}  # rows in a shard -> bytes; all but the last have as many
    for shard in shards:
        start, stop = store.layout.find_rows(shard)
        if stop - start not in by_rows:
            present = np.arange(size) < stop - start
            by_rows[stop - start] = sum(
                count_shard_bytes(present, spec.row_bytes) for spec in store.arrays.values()
            )
        total += by_rows[stop - start]
    return total


def find_complete_shards(store: Store) -> set[int]:
    """Shards of a local store whose record is sound and whose objects all have their size."""
    sizes, found = store.objects.list_objects(""), set()
    for shard in range(store.layout.shards):
        if make_commit_key(shard) in sizes:
            try:
                commit = store.read_commit(shard)
            except StoreError:
                continue
            if _is_complete(commit, sizes):
                found.add(shard)
    return found


def fetch(objects: Objects, key: str, record: ObjectRecord) -> bytes:
    """An object that matches its record; raises DamageFoundError where it does not."""
    for _ in range(_LOOKS):
        data = _read(objects, key, record.bytes)
        if data is not None and ObjectRecord.of(data) == record:
            return data
    raise DamageFoundError(key, "is missing" if objects.find_size(key) is None else "is damaged")


def is_at(objects: Objects, key: str, record: ObjectRecord) -> bool:
    """Whether an object, read now, matches its record."""
    data = _read(objects, key, record.bytes)
    return data is not None and ObjectRecord.of(data) == record


def _read(objects: Objects, key: str, largest: int) -> bytes | None:
    """An object, or None where it is absent or larger than it should be."""
    try:
        return objects.find(key, largest)
    except StoreError:
        if (objects.find_size(key) or 0) > largest:
            return None
        raise


def _is_complete(commit: Commit, sizes: dict[str, int]) -> bool:
    return all(sizes.get(key) == record.bytes for key, record in commit.objects.items())


def _is_same_shard(standing: bytes, commit: Commit) -> bool:
    """Whether two records name the same objects and rows, even from different versions."""
    try:
        found = Commit.from_bytes(standing, commit.shard)
    except StoreError:
        return False
    return replace(found, written=commit.written, row_sums=commit.row_sums) == commit


class _Memory:
    """So many bytes for many threads; what is larger than all of it goes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        with self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + count <= self._limit)
            self._used += count
        try:
            yield
        finally:
            with self._freed:
                self._used -= count
                self._freed.notify_all()
