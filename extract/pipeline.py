"""Fill a store from a source: read one shard ahead of the encoder, write one behind it."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from samcache.cache.errors import ImageError
from samcache.cache.store import Store
from samcache.extract.rows import Row, read_row
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source


def encode_pending(source: Source, store: Store, encoder: ShardEncoder, strict: bool) -> None:
    """Encode and commit every shard the store lacks, with at most three shards in memory.

    With ``strict`` the first unreadable image raises ImageError; otherwise it is recorded and the
    run goes on.
    """
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        try:
            for shard, rows in _read_ahead(source, store, readers):
                if strict:
                    _refuse_unreadable(source, rows)
                content = encoder.encode(rows)
                if written is not None:
                    written.result()
                written = writer.submit(store.commit, shard, content)
            if written is not None:
                written.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _read_ahead(
    source: Source, store: Store, readers: ThreadPoolExecutor
) -> Iterator[tuple[int, list[Row]]]:
    """Yield each pending shard with its rows, while the next shard is being read."""
    sizes = store.identity.image_size, store.identity.frame_size
    reading: deque[tuple[int, list[Future[Row]]]] = deque()
    for shard in store.pending():
        numbers = range(*store.layout.rows_of(shard))
        reading.append((shard, [readers.submit(read_row, source, n, *sizes) for n in numbers]))
        if len(reading) == 2:
            yield _finished(*reading.popleft())
    while reading:
        yield _finished(*reading.popleft())


def _finished(shard: int, rows: list[Future[Row]]) -> tuple[int, list[Row]]:
    return shard, [row.result() for row in rows]


def _refuse_unreadable(source: Source, rows: list[Row]) -> None:
    for row in rows:
        if row.image is None:
            name = source.samples["id"].iloc[row.number]
            raise ImageError(f"{name}: {row.reason}; mend or remove it, or run without --strict")
