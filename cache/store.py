"""A store of cached features: open it, and read what is committed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import Commit, make_commit_key
from samcache.cache.format.description import Dataset, Description, read_description
from samcache.cache.format.layout import IMAGES, STATISTICS, ArraySpec, Layout, make_feature_path
from samcache.cache.format.records import compute_checksum
from samcache.cache.format.samples import Generation, read_newest_generation, read_samples
from samcache.cache.format.shards import (
    CHECKSUM,
    DamagedShardError,
    ShardBuffers,
    count_shard_bytes,
)
from samcache.cache.format.statistics import Moments
from samcache.cache.objects.base import LARGEST_RECORD, Objects, run_in_parallel
from samcache.cache.objects.location import is_remote, open_objects

Array = npt.NDArray[Any]

_READERS = 4  # threads that fill one array


@dataclass(frozen=True)
class ShardContent:
    """Everything one shard holds; n rows, V views.

    blocks: array path -> (n, …) values as in ``Layout.arrays``; sources, failures and holes as
    in Commit, with rows numbered as in the store. Rows that failed and holes hold anything.
    """

    blocks: dict[str, Array]
    sources: tuple[str, ...]
    failures: dict[int, str]
    holes: tuple[int, ...] = ()


class Store:
    """An open store; its table and commits are read at their first use, and then kept."""

    def __init__(
        self,
        location: str | Path,
        objects: Objects | None = None,
        description: Description | None = None,
    ) -> None:
        """Open a store in a folder or at a URL; raises StoreError where no store exists."""
        self.location = str(location)
        self.objects = objects or open_objects(location)
        self.description = description or read_description(self.objects)
        self.identity = self.description.identity
        self.fingerprint = self.identity.compute_fingerprint()
        self.dataset: Dataset = self.description.dataset
        self.provenance = self.description.provenance

    def __getstate__(self) -> dict[str, Any]:
        """Everything that was read so far, but not the connection: each process opens its own."""
        return {name: value for name, value in vars(self).items() if name != "objects"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, objects=open_objects(state["location"]))

    @cached_property
    def generation(self) -> Generation:
        """The record of the sample table."""
        return read_newest_generation(self.objects)

    @cached_property
    def layout(self) -> Layout:
        """The extents of the arrays that the sample table needs."""
        return self.description.make_layout(self.generation.extent)

    @cached_property
    def arrays(self) -> dict[str, ArraySpec]:
        """Every array with one row an image, by path."""
        return self.layout.list_arrays(self.identity)

    @property
    def remote(self) -> bool:
        """Whether the store is behind a network."""
        return is_remote(self.location)

    @property
    def parts(self) -> tuple[Store, ...]:
        """The stores that hold the levels: this store alone."""
        return (self,)

    def find_level(self, level: str) -> tuple[Store, str]:
        """The store that holds a level, and the level's name there."""
        return self, level

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns id, label, split, group, row (on the arrays' first axis), and kept ones."""
        return read_samples(self.objects, self.generation, len(self.dataset.classes))

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The table with status, reason and sha256 of what is committed; one row an image.

        ``status`` is "ok", "unreadable" (with a reason) or "missing" (not committed yet).
        """
        status = np.full(self.layout.rows, "missing", dtype=object)
        reason, sha256 = np.full((2, self.layout.rows), "", dtype=object)
        for commit in self.commits.values():
            start, stop = commit.rows
            status[start:stop], sha256[start:stop] = "ok", commit.sources
            status[list(commit.holes)] = "missing"
            for row, text in commit.failures.items():
                status[row], reason[row] = "unreadable", text
        rows = self.table["row"].to_numpy()
        # as objects: a file's reason may hold what no text column of pandas takes
        reasons = pd.Series(reason[rows], self.table.index, dtype=object)
        return self.table.assign(status=status[rows], reason=reasons, sha256=sha256[rows])

    @cached_property
    def commits(self) -> dict[int, Commit]:
        """Every commit record, by shard; raises StoreError at the first that is damaged."""
        if self.objects.listable:
            shards: list[int] = self.list_committed()
            read = run_in_parallel if self.remote else map
            return dict(zip(shards, read(self.read_commit, shards), strict=True))
        found = run_in_parallel(self.find_commit, range(self.layout.shards))
        return {commit.shard: commit for commit in found if commit is not None}

    def list_committed(self) -> list[int]:
        """Shards that have a commit record now, in order."""
        if not self.objects.listable:
            return sorted(self.commits)
        keys = self.objects.list_objects("commits")
        return [shard for shard in range(self.layout.shards) if make_commit_key(shard) in keys]

    def find_commit(self, shard: int) -> Commit | None:
        """A shard's commit record, None where it has none; raises StoreError where damaged."""
        data = self.objects.find(make_commit_key(shard), LARGEST_RECORD)
        return None if data is None else self.parse_commit(data, shard)

    def parse_commit(self, data: bytes, shard: int) -> Commit:
        """A commit record from its bytes; raises StoreError where it does not fit this store."""
        commit = Commit.from_bytes(data, shard)
        start, stop = self.layout.find_rows(shard)
        if commit.rows[0] != start or not start < commit.rows[1] <= stop:
            raise StoreError(f"commit record of shard {shard} covers rows {commit.rows}: damaged")
        present = commit.mark_present(self.layout.rows_per_shard)
        expected = {
            spec.make_key(shard): count_shard_bytes(present, spec.row_bytes)
            for spec in self.arrays.values()
        }
        if {key: record.bytes for key, record in commit.objects.items()} != expected:
            raise StoreError(f"commit record of shard {shard} names other objects: damaged")
        sums = dict.fromkeys(expected, int(present.sum()) * CHECKSUM) if commit.row_sums else {}
        if {key: len(data) for key, data in commit.row_sums.items()} != sums:
            raise StoreError(f"commit record of shard {shard} has too few checksums: damaged")
        return commit

    def read_commit(self, shard: int) -> Commit:
        """A shard's commit record; raises StoreError where it is missing or damaged."""
        commit = self.find_commit(shard)
        if commit is None:
            raise StoreError(f"{self.location}: commit record of shard {shard} is gone")
        return commit

    def list_pending(self) -> list[int]:
        """Shards that hold a sample and have no commit, in order."""
        committed = set(self.list_committed())
        used = {int(shard) for shard in np.unique(self.generation.rows // self.rows_per_shard)}
        return sorted(used - committed)

    @property
    def rows_per_shard(self) -> int:
        """R, the places in each shard."""
        return self.layout.rows_per_shard

    def parse_if_readable(self, data: bytes | None, shard: int) -> Commit | None:
        """A commit record from its bytes, None where there are none or they are damaged."""
        try:
            return None if data is None else self.parse_commit(data, shard)
        except StoreError:
            return None

    def is_whole(self, commit: Commit) -> bool:
        """Whether every object of a shard is the one that its commit record names."""
        for key, entry in commit.objects.items():
            found = self.objects.find(key) if self.objects.find_size(key) == entry.bytes else None
            if found is None or compute_checksum(found) != entry.checksum:
                return False
        return True

    def read(self, path: str, start: int, stop: int) -> Array:
        """Rows of an array by its path, every checksum checked; rows without data are zeros.

        Raises StoreError where an object is missing or damaged.
        """
        spec, size = self.arrays[path], self.rows_per_shard
        shards = range(start // size, -(-stop // size))
        for shard in shards:
            self._check_size(spec, shard)
        try:
            out: Array = np.empty((max(0, stop - start), *spec.row), spec.dtype)
            if len(shards) == 1:
                self._read_part(spec, shards[0], start, out)
            else:
                with ThreadPoolExecutor(_READERS) as pool:
                    list(pool.map(lambda shard: self._read_part(spec, shard, start, out), shards))
        except MemoryError as error:
            raise StoreError(f"{path}, rows {start} to {stop}, do not fit in memory") from error
        return out

    def _check_size(self, spec: ArraySpec, shard: int) -> None:
        """Raise StoreError where an object has another size than in its record."""
        commit = self.commits.get(shard)
        if commit is not None:
            found, expected = (
                self.objects.find_size(spec.make_key(shard)),
                commit.objects[spec.make_key(shard)],
            )
            if found != expected.bytes:
                state = "is missing" if found is None else f"has {found} bytes"
                raise self.make_damage_error(spec.make_key(shard), state)

    def _read_part(self, spec: ArraySpec, shard: int, start: int, out: Array) -> None:
        """Fill the rows of ``out``, whose first is ``start``, that a shard holds."""
        first, last = self.layout.find_rows(shard)
        lower, upper = max(start, first), min(start + len(out), last)
        part = out[lower - start : upper - start]
        commit = self.commits.get(shard)
        if commit is None:
            part[:] = 0
            return
        whole = (
            part if len(part) == last - first else np.empty((last - first, *spec.row), spec.dtype)
        )
        try:
            self.read_shard(spec, commit, whole)
        except (DamagedShardError, FileNotFoundError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise self.make_damage_error(spec.make_key(shard), reason) from None
        if whole is not part:
            part[:] = whole[lower - first : upper - first]

    def read_shard(self, spec: ArraySpec, commit: Commit, out: Array) -> None:
        """Fill ``out`` with the rows of one object; raises as ``ShardBuffers.check``."""
        buffers = ShardBuffers(out, commit.mark_present(self.rows_per_shard))
        key = spec.make_key(commit.shard)
        self.objects.read_into(key, buffers.open_views())
        buffers.check(commit.objects[key].checksum)

    def make_damage_error(self, key: str, reason: str) -> StoreError:
        """The error for an object that cannot be read, to be raised."""
        return StoreError(
            f"{self.location}/{key}: {reason}: the store is damaged there; samcache cache verify "
            "lists what is lost, samcache cache repair restores it"
        )

    def read_features(self, level: str, start: int, stop: int) -> Array:
        """Rows of one level's maps, (n, V, C, h, w); raises StoreError as ``read``."""
        return self.read(make_feature_path(level), start, stop)

    def read_images(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Rows of the cached images, (n, F, F, 3) uint8 RGB; raises StoreError as ``read``."""
        return self.read(IMAGES, start, stop)

    def read_moments(self, rows: npt.NDArray[np.int64] | None = None) -> dict[str, Moments]:
        """Each level's moments per channel over the unpooled maps of some rows, (m,).

        Rows are those of the table's column row and must be readable; None means every readable one
        of the training split. Raises StoreError where statistics are damaged.
        """
        if rows is None:
            table = self.samples
            rows = table["row"][(table["status"] == "ok") & (table["split"] == "train")].to_numpy()
        chosen = np.zeros(self.layout.rows, np.bool_)
        chosen[rows] = True
        places = self.layout.channels
        total = {level: Moments.zero(place.stop - place.start) for level, place in places.items()}
        for shard in sorted(self.commits):
            start, stop = self.layout.find_rows(shard)
            found = self.read(STATISTICS, start, stop)[chosen[start:stop]]
            for level, place in places.items():
                part = Moments.of_images(found[:, 0, place], found[:, 1, place])
                total[level] = total[level].merge(part)
        return total
