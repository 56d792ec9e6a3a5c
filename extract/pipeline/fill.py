"""Fill a store from a source: reading ahead of the encoder, writing behind it, shard by shard."""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from samcache.cache.claims import Claim
from samcache.cache.commit import Writer, commit_shard
from samcache.extract.pipeline.open_shard import Filled, OpenShard
from samcache.extract.pipeline.read.read_ahead import ReadAhead, Work
from samcache.extract.pipeline.shard_encoder import ShardEncoder

_log = logging.getLogger(__name__)
_PATIENCE = 2.0  # seconds between looks at shards that others hold
_WRITERS = 3  # shards written at the same time, where writing is slower than encoding


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
    writing: deque[Future[Filled]] = deque()
    with (
        ThreadPoolExecutor(_WRITERS) as writers,
        ReadAhead(work, writer, encoder.batch.images) as ahead,
    ):
        for full in encoder.encode(ahead.read(shards)):
            while len(writing) == _WRITERS or (writing and writing[0].done()):
                filled += writing.popleft().result()
            claim = ahead.claims.pop(full.source.shard)
            writing.append(writers.submit(_commit_shard, work, full, claim))
        return sum((written.result() for written in writing), filled)


def _commit_shard(work: Work, full: OpenShard, claim: Claim) -> Filled:
    """Commit a shard and release its claim; returns its images, or none if another process won."""
    shard = full.source.shard
    with claim:
        done = commit_shard(work.store, shard, full.make_content(), claim.is_ours)
    _log.info("shard %d %s", shard, "committed" if done else "was committed by another process")
    return full.filled if done else Filled()
