"""What an extraction has to encode, read ahead of the encoder, each shard under a claim."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Self

import numpy as np
import numpy.typing as npt

from samcache.cache.claims import Claim
from samcache.cache.commit import Writer
from samcache.cache.errors import ImageError
from samcache.cache.store import Store
from samcache.extract.pipeline.open_shard import ShardRows
from samcache.extract.pipeline.ranks import Division, count_reading_threads
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.read.rows import GONE, Row, read_row
from samcache.extract.sources.base import Source


@dataclass(frozen=True)
class Work:
    """What is to be encoded and from where.

    places: (n,) for each sample of the store's table its place in the source, or -1. partial:
    whether the source has more than it shows, so that what is not in it is left for another run.
    """

    store: Store
    source: Source
    places: npt.NDArray[np.int64]
    known: KnownRows
    division: Division
    strict: bool = False
    partial: bool = False

    def list_pending(self) -> list[int]:
        """List shards without a commit: this worker's own in order, then others' from the end.

        So a job ends when all shards are done, even if a worker was slow, late or lost.
        """
        pending = self.store.list_pending()
        if self.partial:
            pending = [s for s in pending if all(place >= 0 for _, place in self.list_rows(s))]
        own = [shard for shard in pending if self.division.owns(shard)]
        return own + [shard for shard in reversed(pending) if not self.division.owns(shard)]

    def list_rows(self, shard: int) -> list[tuple[int, int]]:
        """List the rows of a shard that hold a sample, each with its place in the source or -1."""
        first, last = np.searchsorted(self._rows, self.store.layout.find_rows(shard))
        rows, places = self._rows[first:last], self.places[first:last]
        return list(zip(rows.tolist(), places.tolist(), strict=True))

    @cached_property
    def _rows(self) -> npt.NDArray[np.int64]:
        return self.store.table["row"].to_numpy()


class ReadAhead:
    """Claims shards and reads their rows, ahead of whoever takes the rows, until the context ends.

    claims: the shards that this process holds, until whoever commits a shard takes its claim.
    """

    def __init__(self, work: Work, writer: Writer, batch: int) -> None:
        """batch: images that are encoded at a time; rows are read two batches ahead."""
        self._work, self._writer = work, writer
        threads = count_reading_threads()
        self._most = 2 * batch + threads
        self._readers = ThreadPoolExecutor(threads)
        self._claimer = ThreadPoolExecutor(1)
        self.claims: dict[int, Claim] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._claimer.shutdown()

    def read(self, shards: Iterable[int]) -> Iterator[ShardRows]:
        """Yield the shards that no other process holds, in order, with their rows.

        Rows are also read ahead in the following shards. Raises ImageError at an unreadable image
        if the run is strict.
        """
        for shard, group in groupby(self._read_rows(shards), key=lambda row: row[0]):
            span = self._work.store.layout.find_rows(shard)
            yield ShardRows(shard, span, (self._refuse_if_strict(row.result()) for _, row in group))

    def _read_rows(self, shards: Iterable[int]) -> Iterator[tuple[int, Future[Row]]]:
        """Yield rows, each with its shard, once the rows after them are being read."""
        reading: deque[tuple[int, Future[Row]]] = deque()
        for row in self._submit_rows(shards):
            reading.append(row)
            if len(reading) > self._most:
                yield reading.popleft()
        while reading:
            yield reading.popleft()

    def _submit_rows(self, shards: Iterable[int]) -> Iterator[tuple[int, Future[Row]]]:
        """Yield rows that are being read, each with its shard, in order.

        A claim costs some requests, so the next is made when half of a shard has been asked for.
        """
        work, remaining = self._work, iter(shards)
        claimed = self._claimer.submit(self._claim_next, remaining)
        while (shard := claimed.result()) is not None:
            rows = work.list_rows(shard)
            for number, (row, place) in enumerate(rows):
                if number == len(rows) // 2:
                    claimed = self._claimer.submit(self._claim_next, remaining)
                yield shard, self._submit_row(row, place)

    def _submit_row(self, row: int, place: int) -> Future[Row]:
        work = self._work
        if place < 0:
            return self._readers.submit(Row, row, "", reason=GONE)
        identity = work.store.identity
        return self._readers.submit(read_row, work.source, place, row, work.known, identity)

    def _claim_next(self, shards: Iterator[int]) -> int | None:
        """Claim the next shard that no process holds or has committed; None if there is none."""
        for shard in shards:
            claim = self._writer.claim_pending(self._work.store, shard)
            if claim is not None:
                self.claims[shard] = claim
                return shard
        return None

    def _refuse_if_strict(self, row: Row) -> Row:
        """Return the row; raises ImageError if the run is strict and its image unreadable."""
        if self._work.strict and row.reason:
            name = self._work.store.table.set_index("row")["id"][row.number]
            raise ImageError(
                f"{name}: {row.reason}; repair or remove the image, or switch strict off",
                hint="strict",
            )
        return row
