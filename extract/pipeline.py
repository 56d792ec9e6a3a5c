"""Fill a store from a source: read one shard ahead of the encoder, write one behind it."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from samcache.cache.claims import Claim, Claims
from samcache.cache.commits import commit_key, shard_name
from samcache.cache.errors import ImageError
from samcache.cache.store import ShardContent, Store
from samcache.extract.division import Division
from samcache.extract.reuse import KnownRows
from samcache.extract.rows import Row, read_row
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source

_PATIENCE = 2.0  # seconds between looks at shards that others hold

GONE = "it is no longer in the source"


@dataclass(frozen=True)
class Work:
    """What is to be encoded and from where.

    places: row of the store -> place in the source, or None where the source lacks the sample.
    """

    store: Store
    source: Source
    places: dict[int, int | None]
    known: KnownRows
    division: Division
    strict: bool = False

    def pending(self) -> list[int]:
        """This worker's shards without a commit, in order."""
        return [shard for shard in self.store.pending() if self.division.owns(shard)]

    def rows(self, shard: int) -> list[int]:
        """The rows of a shard that hold a sample."""
        return [row for row in range(*self.store.layout.rows_of(shard)) if row in self.places]


@dataclass(frozen=True)
class Held:
    """A shard under this process's claim, and its rows as they are read."""

    shard: int
    claim: Claim
    rows: list[Future[Row]]


def fill(work: Work, encoder: ShardEncoder, claims: Claims, on_wait: Callable[[int], None]) -> int:
    """Encode and commit all of this worker's shards; the images that this process committed.

    Shards that another process holds are waited for, and taken over where it dies; ``on_wait`` is
    told how many. With ``strict`` the first unreadable image raises ImageError; otherwise it is
    recorded and the run goes on.
    """
    images = 0
    while pending := work.pending():
        done = _encode(work, pending, encoder, claims)
        images += done
        if not done and (held := len(work.pending())):
            on_wait(held)
            time.sleep(_PATIENCE)
    return images


def _encode(work: Work, shards: list[int], encoder: ShardEncoder, claims: Claims) -> int:
    """Encode those shards that nobody else holds, with at most three in memory."""
    images = 0
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(1) as writer:
        written: Future[int] | None = None
        try:
            for held in _read_ahead(work, shards, claims, readers):
                rows = [row.result() for row in held.rows]
                if work.strict:
                    _refuse_unreadable(work, rows)
                content = encoder.encode(rows, work.store.layout.rows_of(held.shard))
                if written is not None:
                    images += written.result()
                written = writer.submit(_commit, work.store, held, content, claims)
            if written is not None:
                images += written.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    return images


def _commit(store: Store, held: Held, content: ShardContent, claims: Claims) -> int:
    """Commit a shard and give its claim up; its images, or none where another's data stands."""
    name = shard_name(held.shard)
    done = store.commit(held.shard, content, lambda: claims.holds(held.claim, name))
    claims.release(name)
    return len(held.rows) if done else 0


def _read_ahead(
    work: Work, shards: list[int], claims: Claims, readers: ThreadPoolExecutor
) -> Iterator[Held]:
    """Claim each shard that is free and yield it, while the next one is being read."""
    sizes = work.store.identity.image_size, work.store.identity.frame_size
    reading: deque[Held] = deque()
    for shard in shards:
        claim = _claimed(work.store, shard, claims)
        if claim is None:
            continue
        rows = [
            readers.submit(read_row, work.source, place, row, work.known, *sizes)
            if (place := work.places[row]) is not None
            else readers.submit(Row, row, "", reason=GONE)
            for row in work.rows(shard)
        ]
        reading.append(Held(shard, claim, rows))
        if len(reading) == 2:
            yield reading.popleft()
    while reading:
        yield reading.popleft()


def _claimed(store: Store, shard: int, claims: Claims) -> Claim | None:
    """A claim on a shard that nobody holds and nobody has committed meanwhile, or None."""
    claim = claims.take(shard_name(shard))
    if claim is not None and store.objects.size(commit_key(shard)) is not None:
        claims.release(shard_name(shard))
        return None
    return claim


def _refuse_unreadable(work: Work, rows: list[Row]) -> None:
    names = work.store.table.set_index("row")["id"]
    for row in rows:
        if row.reason:
            raise ImageError(
                f"{names[row.number]}: {row.reason}; mend or remove it, or run without --strict"
            )
