"""Fill a store from a source: reading ahead of the encoder, writing behind it, shard by shard."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from samcache.cache.claims import Claim
from samcache.cache.errors import ImageError
from samcache.cache.store import Store
from samcache.cache.writer import Writer, commit_shard
from samcache.extract.pipeline.open_shard import Filled, OpenShard, ShardRows
from samcache.extract.pipeline.ranks import Division, count_reading_threads
from samcache.extract.pipeline.reuse import KnownRows
from samcache.extract.pipeline.rows import GONE, Row, read_row
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.sources.base import Source

_log = logging.getLogger(__name__)
_PATIENCE = 2.0  # seconds between looks at shards that others hold
_WRITERS = 3  # shards written at the same time, where writing is slower than encoding


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


def fill(
    work: Work, encoder: ShardEncoder, writer: Writer, on_wait: Callable[[int], None]
) -> Filled:
    """Encode and commit the pending shards; returns what this process committed.

    Shards that another process holds are waited for, and taken over where it dies; ``on_wait`` is
    told how many. Of a job's ranks only rank 0 waits, the others end when nothing is free. With
    ``strict`` the first unreadable image raises ImageError; otherwise it is recorded and the run
    goes on.
    """
    filled = Filled()
    while shards := work.list_pending():
        _log.info("%d of %d shards to encode", len(shards), work.store.layout.shards)
        done = _encode_shards(work, shards, encoder, writer)
        filled += done
        nothing = done == Filled()
        if nothing and work.division.rank:
            break
        if nothing and (held := len(work.list_pending())):
            on_wait(held)
            time.sleep(_PATIENCE)
    return filled


def _encode_shards(work: Work, shards: list[int], encoder: ShardEncoder, writer: Writer) -> Filled:
    """Encode the shards that no other process holds; returns what was committed.

    Holds at most two batches of decoded images and a few more, plus three finished shards waiting
    to be written and one or two that are being filled.
    """
    filled = Filled()
    held: dict[int, Claim] = {}
    writing: deque[Future[Filled]] = deque()
    with (
        ThreadPoolExecutor(count_reading_threads()) as readers,
        ThreadPoolExecutor(1) as claimer,
        ThreadPoolExecutor(_WRITERS) as writers,
    ):
        try:
            rows = _submit_rows(work, shards, held, writer, claimer, readers)
            for full in encoder.encode(_read_ahead(work, rows, encoder)):
                while len(writing) == _WRITERS or (writing and writing[0].done()):
                    filled += writing.popleft().result()
                claim = held.pop(full.source.shard)
                writing.append(writers.submit(_commit_shard, work, full, claim))
            filled = sum((written.result() for written in writing), filled)
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    return filled


def _commit_shard(work: Work, full: OpenShard, claim: Claim) -> Filled:
    """Commit a shard and release its claim; returns its images, or none if another process won."""
    shard = full.source.shard
    with claim:
        done = commit_shard(work.store, shard, full.make_content(), claim.is_ours)
    _log.info("shard %d %s", shard, "committed" if done else "was committed by another process")
    return full.filled if done else Filled()


def _read_ahead(
    work: Work, rows: Iterator[tuple[int, Future[Row]]], encoder: ShardEncoder
) -> Iterator[ShardRows]:
    """Yield shards with their rows, which are read two batches ahead, also in following shards."""

    def window() -> Iterator[tuple[int, Future[Row]]]:
        reading: deque[tuple[int, Future[Row]]] = deque()
        for row in rows:
            reading.append(row)
            if len(reading) > 2 * encoder.batch.images + count_reading_threads():
                yield reading.popleft()
        while reading:
            yield reading.popleft()

    for shard, group in groupby(window(), key=lambda row: row[0]):
        span = work.store.layout.find_rows(shard)
        yield ShardRows(shard, span, (_refuse_if_strict(work, row.result()) for _, row in group))


def _submit_rows(
    work: Work,
    shards: list[int],
    held: dict[int, Claim],
    writer: Writer,
    claimer: ThreadPoolExecutor,
    readers: ThreadPoolExecutor,
) -> Iterator[tuple[int, Future[Row]]]:
    """Rows that are being read, each with its shard, in order; claims of shards go to ``held``.

    A claim costs some requests, so the next is made when half of a shard has been asked for.
    """
    identity = work.store.identity
    remaining = iter(shards)
    claimed = claimer.submit(_next_claim, work.store, remaining, writer)
    while (found := claimed.result()) is not None:
        shard, claim = found
        held[shard] = claim
        rows = work.list_rows(shard)
        for number, (row, place) in enumerate(rows):
            if number == len(rows) // 2:
                claimed = claimer.submit(_next_claim, work.store, remaining, writer)
            if place < 0:
                yield shard, readers.submit(Row, row, "", reason=GONE)
            else:
                yield shard, readers.submit(read_row, work.source, place, row, work.known, identity)


def _next_claim(store: Store, shards: Iterator[int], writer: Writer) -> tuple[int, Claim] | None:
    """Claim the next shard that no process holds or has committed; None if there is none."""
    for shard in shards:
        claim = writer.claim_pending(store, shard)
        if claim is not None:
            return shard, claim
    return None


def _refuse_if_strict(work: Work, row: Row) -> Row:
    """Return the row; raises ImageError if the run is strict and the row's image unreadable."""
    if work.strict and row.reason:
        name = work.store.table.set_index("row")["id"][row.number]
        raise ImageError(
            f"{name}: {row.reason}; repair or remove the image, or switch strict off",
            hint="strict",
        )
    return row
