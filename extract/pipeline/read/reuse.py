"""Features that were computed before, in this store or another of the same identity, by hash."""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.errors import StoreError
from samcache.cache.format.identity import Identity
from samcache.cache.rows import RowReader
from samcache.cache.store import Store

KnownRow = dict[str, npt.NDArray[Any]]  # array path -> one row of it


class KnownRows:
    """Looks rows up by the SHA-256 of their source bytes.

    A shard that two rows in succession come from is read whole, since rows mostly come in order; a
    row from elsewhere alone, since images may have got any new names.
    """

    def __init__(self, stores: Iterable[Store] = ()) -> None:
        """Read the commit records of stores of one identity; raises StoreError where damaged."""
        self._places: dict[str, tuple[Store, int]] = {}
        for store in stores:
            for commit in store.commits.values():
                without = {*commit.failures, *commit.holes}
                rows = zip(range(*commit.rows), commit.sources, strict=True)
                self._places |= {sha: (store, row) for row, sha in rows if row not in without}
        self._shard = lru_cache(maxsize=2)(_read_shard)
        self._reader = cache(lambda store: RowReader(store, list(store.arrays)))
        self._last: tuple[Store, int] | None = None

    def __contains__(self, sha256: object) -> bool:
        """Whether an image was encoded before, going by the commit records alone."""
        return sha256 in self._places

    def find(self, sha256: str) -> KnownRow | None:
        """Find every array's row of an image; None if the image is unknown or its row damaged."""
        place = self._places.get(sha256)
        if place is None:
            return None
        store, row = place
        shard = store, row // store.rows_per_shard
        again, self._last = shard == self._last, shard
        for read in (self._read_with_shard, self._read_alone) if again else (self._read_alone,):
            try:
                return read(store, row)
            except StoreError:  # of a damaged shard other rows may be whole
                continue
        return None

    def _read_with_shard(self, store: Store, row: int) -> KnownRow:
        shard, number = divmod(row, store.rows_per_shard)
        return {path: block[number] for path, block in self._shard(store, shard).items()}

    def _read_alone(self, store: Store, row: int) -> KnownRow:
        return {path: rows[0] for path, rows in self._reader(store).read(np.array([row])).items()}


def open_reusable(locations: Iterable[str], identity: Identity) -> list[Store]:
    """Open stores to copy from; raises StoreError naming what differs from the identity."""
    stores = [Store(location) for location in locations]
    for store in stores:
        differences = store.identity.list_differences(identity)
        if differences:
            raise StoreError(
                f"{store.location} has another identity, so its images cannot be reused: "
                f"{differences[0]}",
                hint="reuse",
            )
    return stores


def _read_shard(store: Store, shard: int) -> dict[str, npt.NDArray[np.generic]]:
    start, stop = store.layout.find_rows(shard)
    return {path: store.read(path, start, stop) for path in store.arrays}
