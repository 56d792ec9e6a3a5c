"""Is everything that was committed still there, and still what was committed?"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from samcache.cache.commits import Commit, commit_key
from samcache.cache.errors import StoreError
from samcache.cache.layout import IMAGES, STATISTICS
from samcache.cache.store import Store


@dataclass(frozen=True)
class Damage:
    """One object that is not what its commit record says, and the rows that it costs."""

    key: str
    problem: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What verifying a store found."""

    path: str
    shards: int
    bytes: int
    seconds: float
    fast: bool
    damage: list[Damage]
    lost: list[str]  # ids of the samples that the damage costs

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def text(self) -> str:
        """One line where all is well, else one for each damaged object and each lost sample."""
        checked = "sizes compared" if self.fast else "every byte read"
        if not self.damage:
            amount = f"{self.shards} shards, {self.bytes / 1e6:.1f} MB"
            return f"{self.path}: all well ({amount}, {checked}, {self.seconds:.1f} s)"
        lines = [f"{self.path}: {len(self.damage)} objects are damaged ({checked})"]
        lines += [f"  {d.key} {d.problem}: costs {len(d.rows)} samples" for d in self.damage]
        lines += [f"{len(self.lost)} samples lost:", *(f"  {name}" for name in self.lost)]
        return "\n".join(lines)


def report(store: Store, fast: bool, console: Console) -> Report:
    """Verify a store with a progress bar on ``console``."""
    started = time.perf_counter()
    shards = store.committed()
    with Progress(console=console) as progress:
        task = progress.add_task("verifying", total=len(shards))
        damage = verify(store, fast, lambda _: progress.advance(task))
    ids = store.read_samples()["id"]
    rows = sorted({row for one in damage for row in one.rows})
    return Report(
        path=str(store.path),
        shards=len(shards),
        bytes=sum(store.object_sizes().values()),
        seconds=time.perf_counter() - started,
        fast=fast,
        damage=damage,
        lost=[str(ids.iloc[row]) for row in rows],
    )


def verify(
    store: Store, fast: bool = False, on_shard: Callable[[int], None] = lambda _: None
) -> list[Damage]:
    """Compare every committed object with its record; an empty list says that all is well.

    ``fast`` compares presence and sizes alone. Otherwise every byte is read: SHA-256 against the
    record, and features against NaN and infinity. Uncommitted shards are no damage. ``on_shard``
    is told the number of each shard done. Raises StoreError where the store cannot be opened or
    its sample table cannot be read.
    """
    ids = store.read_samples()["id"]
    found = [Damage("samples/id", "ids repeat", ())] if ids.duplicated().any() else []
    sizes = store.object_sizes()
    for shard in store.committed():
        try:
            commit = store.read_commit(shard)
        except StoreError as error:
            found.append(Damage(commit_key(shard), str(error), _all_rows(store, shard)))
        else:
            found += chain(
                _wrong_sizes(store, commit, sizes),
                () if fast else _wrong_bytes(store, commit, sizes),
            )
        on_shard(shard)
    return found


def _wrong_sizes(store: Store, commit: Commit, sizes: dict[str, int]) -> Iterator[Damage]:
    own = set(store.object_keys(commit.shard))
    for key, record in commit.objects.items():
        if key not in own:
            yield Damage(commit_key(commit.shard), f"names {key}, which is none of its objects", ())
        elif key not in sizes:
            yield Damage(key, "is missing", _all_rows(store, commit.shard))
        elif sizes[key] != record.bytes:
            problem = f"has {sizes[key]} bytes instead of {record.bytes}"
            yield Damage(key, problem, _all_rows(store, commit.shard))


def _wrong_bytes(store: Store, commit: Commit, sizes: dict[str, int]) -> Iterator[Damage]:
    """Damage that only reading finds, in objects of the right size."""
    own = set(store.object_keys(commit.shard))
    for key, record in commit.objects.items():
        if key in own and sizes.get(key) == record.bytes:
            path = key.split("/c/")[0]
            if store.object_sha256(key) != record.sha256:
                yield Damage(key, "has another SHA-256", _unreadable_rows(store, path, commit))
            elif path not in (IMAGES, STATISTICS):
                rows = _rows_not_finite(store, path, commit)
                if rows:
                    yield Damage(key, "holds NaN or infinity", rows)


def _unreadable_rows(store: Store, path: str, commit: Commit) -> tuple[int, ...]:
    """The rows whose chunks fail their checksum; all rows where each passes or none can tell."""
    every = _all_rows(store, commit.shard)
    if path == STATISTICS:
        return every
    failed = tuple(row for row in every if not store.row_is_intact(path, row))
    return failed or every


def _rows_not_finite(store: Store, path: str, commit: Commit) -> tuple[int, ...]:
    start, stop = commit.rows
    values = store.read(path, start, stop).reshape(stop - start, -1)
    return tuple(start + int(row) for row in np.flatnonzero(~np.isfinite(values).all(axis=1)))


def _all_rows(store: Store, shard: int) -> tuple[int, ...]:
    return tuple(range(*store.layout.rows_of(shard)))
