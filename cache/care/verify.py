"""Verify a store: is every committed object there, and unchanged?"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.care.damage.open_damaged import Damage, open_damaged
from samcache.cache.create import find_left_behind, find_stale_metadata
from samcache.cache.errors import AccessError, StoreError, UnreachableError
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_spare_key,
)
from samcache.cache.format.layout import ArraySpec
from samcache.cache.format.records import compute_checksum
from samcache.cache.format.shards import CHECKSUM, DamagedShardError, count_index_bytes, crc32c
from samcache.cache.objects.base import LARGEST_RECORD, run_in_parallel
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import Store

_READERS = 4
# as unsigned integers without their sign, NaN and infinities are the greatest
_LEAST_NOT_FINITE: dict[str, tuple[str, int, int]] = {
    "float16": ("<u2", 0x7FFF, 0x7C00),
    "float32": ("<u4", 0x7FFFFFFF, 0x7F800000),
}
_BLOCK = 1 << 15  # values looked at together, so that they stay in the processor's cache


@dataclass(frozen=True)
class Report:
    """The result of verifying a store."""

    location: str
    shards: int
    bytes: int
    seconds: float
    fast: bool
    damage: list[Damage]
    lost: list[str]  # ids of the samples that the damage costs
    uncommitted: list[str]  # ids of the samples that no commit record holds
    interrupted: bool  # while the store grew, or it is growing now: no damage

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


def report(
    location: str | Path, fast: bool = False, on_progress: OnProgress = ignore_progress
) -> Report:
    """Verify the store at a location."""
    started = time.perf_counter()
    store, damage = open_damaged(location)
    amount, done, total = 0, 0, len(store.list_committed())

    def count(commit: Commit) -> None:
        nonlocal amount, done
        amount += sum(record.bytes for record in commit.objects.values())
        done += 1
        on_progress("verifying", done, total)

    damage += verify(store, fast, count)
    return Report(
        location=store.location,
        shards=len(store.list_committed()),
        bytes=amount,
        seconds=time.perf_counter() - started,
        fast=fast,
        damage=damage,
        lost=_list_ids(store, {row for one in damage for row in one.rows}),
        uncommitted=_list_ids(store, _find_uncommitted_rows(store, damage)),
        interrupted=bool(find_left_behind(store)),
    )


def verify(
    store: Store,
    fast: bool = False,
    on_shard: Callable[[Commit], None] = lambda _: None,
    only: Iterable[int] | None = None,
) -> list[Damage]:
    """Compare every object with its record; an empty list means no damage.

    fast: compare only presence, sizes and, except in a bucket, the checksum of each object's last
    row. Otherwise every byte is read: checksums are compared with the records, values with NaN and
    infinity, metadata with the table. Uncommitted shards and metadata of an older table are no
    damage. on_shard: receives the commit of each verified shard. only: the shards to verify.
    """
    shards = _list_recorded(store) if only is None else list(only)
    found = [] if fast else [*_check_metadata(store), *_check_table(store)]
    commits = dict(_read_commits(store, shards, found))
    sizes = _list_sizes(store) if fast else None
    with ThreadPoolExecutor(_READERS) as pool:
        check = _check_sizes if fast else _check_bytes
        checked = pool.map(lambda commit: list(check(store, commit, sizes)), commits.values())
        for commit, damage in zip(commits.values(), checked, strict=True):
            found += damage
            on_shard(commit)
    return found


def _read_commits(
    store: Store, shards: list[int], found: list[Damage]
) -> Iterator[tuple[int, Commit]]:
    """The commit records, or their spares; unreadable records are added to ``found``."""

    def read(shard: int) -> tuple[Commit | None, Damage | None]:
        key = make_commit_key(shard)
        try:
            found, problem = store.find_commit(shard), "is missing"
        except (AccessError, UnreachableError):
            raise
        except StoreError as error:
            found, problem = None, str(error)
        if found is not None:
            return found, None
        spare = store.parse_if_readable(
            store.objects.find(make_spare_key(shard), LARGEST_RECORD), shard
        )
        if spare is not None:
            return spare, Damage(key, f"{problem}; its spare is intact")
        return None, Damage(key, problem, _list_rows(store, shard))

    records = run_in_parallel(read, shards) if store.remote else map(read, shards)
    for shard, (commit, damage) in zip(shards, records, strict=True):
        if damage is not None:
            found.append(damage)
        if commit is not None:
            yield shard, commit


def _list_sizes(store: Store) -> dict[str, int] | None:
    """Bytes of every array object of a bucket; None for other places.

    The listing is made after the commits were read, so that a new shard is no damage. In a folder,
    one look at each object is faster than a walk.
    """
    if store.objects.folder is not None or not store.objects.listable:
        return None
    tops = {path.split("/")[0] for path in store.arrays}
    return {key: size for top in tops for key, size in store.objects.list_objects(top).items()}


def _check_sizes(store: Store, commit: Commit, sizes: dict[str, int] | None) -> Iterator[Damage]:
    for key, record in commit.objects.items():
        size = store.objects.find_size(key) if sizes is None else sizes.get(key)
        if size != record.bytes:
            problem = "is missing" if size is None else f"has {size} bytes, not {record.bytes}"
            yield Damage(key, problem, _list_rows(store, commit.shard))
        elif sizes is None and not _ends_as_committed(store, commit, key):
            yield Damage(
                key, "is not the object that was committed", _list_rows(store, commit.shard)
            )


def _ends_as_committed(store: Store, commit: Commit, key: str) -> bool:
    """Whether an object's last row has the checksum in the record."""
    expected = commit.row_sums.get(key, b"")[-CHECKSUM:]
    if not expected:
        return True
    found = bytearray(CHECKSUM)
    behind = count_index_bytes(store.rows_per_shard) + CHECKSUM
    try:
        start = commit.objects[key].bytes - behind
        store.objects.read_parts_into(key, [(start, [memoryview(found)])])
    except (FileNotFoundError, ValueError):
        return False
    return bytes(found) == expected


def _list_recorded(store: Store) -> list[int]:
    """Shards that have a commit record or the spare of one, in order, from one listing."""
    if not store.objects.listable:
        return store.list_committed()
    keys = store.objects.list_objects("commits")
    shards = range(store.layout.shards)
    return [
        shard for shard in shards if make_commit_key(shard) in keys or make_spare_key(shard) in keys
    ]


def _check_bytes(store: Store, commit: Commit, _: dict[str, int] | None) -> Iterator[Damage]:
    spare = store.objects.find(make_spare_key(commit.shard), LARGEST_RECORD)
    standing = store.objects.find(make_commit_key(commit.shard))
    readable = store.parse_if_readable(standing, commit.shard) is not None
    if readable and spare is not None and spare != standing:
        yield Damage(make_spare_key(commit.shard), "is not a copy of the commit record")
    for spec in store.arrays.values():
        key = spec.make_key(commit.shard)
        record = commit.objects[key]
        data = _reuse_buffer(record.bytes)
        try:
            store.objects.read_into(key, [data.data])
        except FileNotFoundError:
            yield Damage(key, "is missing", _list_rows(store, commit.shard))
            continue
        except ValueError as error:
            yield Damage(key, f"is damaged: {error}", _list_rows(store, commit.shard))
            continue
        if compute_checksum(data.data) != record.checksum:
            rows = _find_other_rows(data, spec, commit, store.rows_per_shard)
            rows = rows or _find_unreadable_rows(store, spec, commit)
            yield Damage(key, "has another checksum", rows)
        elif spec.dtype in _LEAST_NOT_FINITE:
            rows = _find_rows_not_finite(data, spec, commit, store.rows_per_shard)
            if rows:
                yield Damage(key, "holds NaN or infinity", rows)


_local = threading.local()


def _reuse_buffer(size: int) -> npt.NDArray[np.uint8]:
    """A buffer of this thread, used again: new memory costs more time than reading."""
    buffer: npt.NDArray[np.uint8] | None = getattr(_local, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _local.buffer = np.empty(size, np.uint8)
    return buffer[:size]


def _find_other_rows(
    data: npt.NDArray[np.uint8], spec: ArraySpec, commit: Commit, rows_per_shard: int
) -> tuple[int, ...]:
    """Rows of an object that differ from the committed rows; none where the record has no sums."""
    sums = commit.row_sums.get(spec.make_key(commit.shard), b"")
    places = np.flatnonzero(commit.mark_present(rows_per_shard)).tolist() if sums else []
    bad = []
    for number, place in enumerate(places):
        start = number * (spec.row_bytes + CHECKSUM)
        found = crc32c(data[start : start + spec.row_bytes].tobytes())
        if found != sums[number * CHECKSUM : (number + 1) * CHECKSUM]:
            bad.append(commit.rows[0] + int(place))
    return tuple(bad)


def _find_unreadable_rows(store: Store, spec: ArraySpec, commit: Commit) -> tuple[int, ...]:
    """The rows whose own checksum fails; all rows where each passes or the index is damaged."""
    start, stop = commit.rows
    out = np.empty((stop - start, *spec.row), spec.dtype)
    try:
        store.read_shard(spec, commit, out)
    except DamagedShardError as error:
        return tuple(start + place for place in error.places)
    return _list_rows(store, commit.shard)


def _find_rows_not_finite(
    data: npt.NDArray[np.uint8], spec: ArraySpec, commit: Commit, rows_per_shard: int
) -> tuple[int, ...]:
    """Rows of an intact object that hold NaN or infinity."""
    kind, mask, least = _LEAST_NOT_FINITE[spec.dtype]
    places = np.flatnonzero(commit.mark_present(rows_per_shard))
    block = np.empty(_BLOCK, kind)
    bad = []
    for number, place in enumerate(places):
        offset = number * (spec.row_bytes + 4)
        values = data[offset : offset + spec.row_bytes].view(kind)
        pieces = (values[i : i + _BLOCK] for i in range(0, len(values), _BLOCK))
        if any(np.bitwise_and(p, mask, out=block[: len(p)]).max() >= least for p in pieces):
            bad.append(commit.rows[0] + int(place))
    return tuple(bad)


def _check_metadata(store: Store) -> Iterator[Damage]:
    behind = find_left_behind(store)
    for key in find_stale_metadata(store):
        if key not in behind:
            yield Damage(key, "is missing or has unexpected content")


def _check_table(store: Store) -> Iterator[Damage]:
    for key, record in store.generation.objects.items():
        found = store.objects.find(key)
        if found is None or ObjectRecord.of(found) != record:
            yield Damage(key, "is missing" if found is None else "has another checksum")


def _find_uncommitted_rows(store: Store, damage: list[Damage]) -> set[int]:
    """Rows of samples in shards without a commit record, without the rows of reported damage."""
    lost, reported = {row for one in damage for row in one.rows}, {one.key for one in damage}
    shards = (shard for shard in store.list_pending() if make_commit_key(shard) not in reported)
    pending = (range(*store.layout.find_rows(shard)) for shard in shards)
    return {row for rows in pending for row in rows} - lost


def _list_ids(store: Store, rows: set[int]) -> list[str]:
    """Ids of the samples in some rows, or the rows where the table is damaged."""
    if not rows:
        return []
    try:
        table = store.table
    except StoreError:
        return [f"row {row}" for row in sorted(rows)]
    return [str(name) for name in table["id"][table["row"].isin(rows)]]


def _list_rows(store: Store, shard: int) -> tuple[int, ...]:
    return tuple(range(*store.layout.find_rows(shard)))
