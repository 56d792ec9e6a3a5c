"""Read rows of a store in any order, each by itself, with its checksum checked."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from samcache.cache.format.layout import ArraySpec
from samcache.cache.format.shards import CHECKSUM, Array, DamagedShardError, check_rows, number_rows
from samcache.cache.store import Store

Ints = npt.NDArray[np.int64]

_READERS = 4  # threads that share the arrays of one call


class RowReader:
    """Reads rows of a store in random order, for data that do not fit in memory.

    Reads only the given rows, where ``Store.read`` reads whole shards.
    """

    def __init__(self, store: Store, paths: Sequence[str]) -> None:
        """paths: of the arrays to read; raises StoreError where a commit record is damaged."""
        self._store = store
        self._specs = [store.arrays[path] for path in paths]
        self._whole: set[str] = set()  # objects without checksums of rows, found to be whole
        self._numbers = np.full(store.layout.rows, -1)  # of a row among those its objects hold
        for shard, commit in store.commits.items():
            start, stop = store.layout.find_rows(shard)
            numbers = number_rows(commit.mark_present(store.rows_per_shard))
            self._numbers[start:stop] = numbers[: stop - start]

    def read(self, rows: Ints) -> dict[str, Array]:
        """Some rows (n,), path -> (n, …) in their order; rows without data are zeros.

        Raises StoreError where an object is missing or a row is damaged, IndexError for rows that
        the store does not have.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self._numbers):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self._numbers)}")
        groups = self._group_by_shard(rows)
        out = {spec.path: np.empty((len(rows), *spec.row), spec.dtype) for spec in self._specs}
        absent = self._numbers[rows] < 0

        def fill(spec: ArraySpec) -> None:
            out[spec.path][absent] = 0
            for shard, places in groups:
                self._fill(spec, shard, self._numbers[rows[places]], places, out[spec.path])

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, self._specs))
        return out

    def _group_by_shard(self, rows: Ints) -> list[tuple[int, Ints]]:
        """Shards, each with the places in ``rows`` whose data it holds."""
        places = np.flatnonzero(self._numbers[rows] >= 0)
        shards = rows[places] // self._store.rows_per_shard
        order = np.argsort(shards, kind="stable")
        found, starts = np.unique(shards[order], return_index=True)
        return list(zip(found.tolist(), np.split(places[order], starts[1:]), strict=False))

    def _fill(self, spec: ArraySpec, shard: int, numbers: Ints, places: Ints, out: Array) -> None:
        """Read some rows of one object into their places of ``out``."""
        flat = out.reshape(len(out), -1).view(np.uint8)
        sums = np.empty((len(places), CHECKSUM), np.uint8)
        offsets = numbers * (spec.row_bytes + CHECKSUM)
        key = spec.make_key(shard)
        parts = [
            (offset, [flat[place].data, total.data])
            for offset, place, total in zip(offsets.tolist(), places.tolist(), sums, strict=True)
        ]
        try:
            self._store.objects.read_parts_into(key, parts)
            check_rows(flat, places, self._find_committed_sums(spec, shard, numbers, sums))
        except (DamagedShardError, FileNotFoundError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise self._store.make_damage_error(key, reason) from None

    def _find_committed_sums(
        self, spec: ArraySpec, shard: int, numbers: Ints, found: Array
    ) -> Array:
        """The checksums (n, 4) of rows of an object, as they were committed.

        Older records have none: the object is then compared as a whole, once, and its own are used.
        """
        commit, key = self._store.commits[shard], spec.make_key(shard)
        if commit.row_sums:
            return np.frombuffer(commit.row_sums[key], np.uint8).reshape(-1, CHECKSUM)[numbers]
        if key not in self._whole:
            start, stop = commit.rows
            self._store.read_shard(spec, commit, np.empty((stop - start, *spec.row), spec.dtype))
            self._whole.add(key)
        return found
