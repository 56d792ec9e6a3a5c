"""Count the progress of an extraction: one count for all processes of a job."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from samcache.cache.errors import StoreError
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.extract.pipeline.ranks import Division

_PERIOD = 3.0  # seconds between looks at what others have committed
_SHARE = 20  # a look takes at most one part in so many of the time, however long the listing


class JobProgress:
    """Counts a job's images: this process's by the batch, those of others by their commits."""

    def __init__(self, store: Store, on_progress: OnProgress) -> None:
        shards, counts = np.unique(
            store.table["row"].to_numpy() // store.rows_per_shard, return_counts=True
        )
        self._images = dict(zip(shards.tolist(), counts.tolist(), strict=True))
        self._store, self._on_progress = store, on_progress
        self._lock = threading.Lock()
        self._own: Counter[int] = Counter()  # shard -> images that are done here
        self._others = 0
        self._work = "encoding"
        self.look()

    def add(self, shard: int, images: int) -> None:
        """Count images of a shard that this process has encoded."""
        self._own[shard] += images
        self._report()

    def wait_for(self, shards: int) -> None:
        """Report that only shards which other workers hold are left."""
        self._work = f"waiting for {count_nouns(shards, 'shard')} of other workers"
        self.look()
        self._work = "encoding"

    def look(self) -> None:
        """Count again what others have committed."""
        own = set(self._own)
        found = (
            self._images.get(shard, 0) for shard in self._store.list_committed() if shard not in own
        )
        self._others = sum(found)
        self._report()

    def _report(self) -> None:
        with self._lock:
            done = self._others + self._own.total()
            self._on_progress(self._work, done, len(self._store.table))


@contextmanager
def report_job_progress(
    store: Store, division: Division, on_progress: OnProgress
) -> Iterator[JobProgress]:
    """Count a job's images; rank 0 reports them, and looks at the others' commits now and then."""
    progress = JobProgress(store, ignore_progress if division.rank else on_progress)
    if division.size == 1 or division.rank:
        yield progress
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(progress, ended), daemon=True)
    watcher.start()
    try:
        yield progress
    finally:
        ended.set()
        watcher.join()
    progress.look()


def _watch(progress: JobProgress, ended: threading.Event) -> None:
    pause = _PERIOD
    while not ended.wait(pause):
        started = time.monotonic()
        try:
            progress.look()
        except StoreError:
            continue  # the store cannot be reached: the work itself will raise
        pause = max(_PERIOD, _SHARE * (time.monotonic() - started))
