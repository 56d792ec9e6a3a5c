"""The progress bar of extraction: one for a job, whatever the number of its processes."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from samcache.cache.errors import StoreError
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.extract.pipeline.ranks import Division

_PERIOD = 3.0  # seconds between looks at what others have committed
_SHARE = 20  # a look takes at most one part in so many of the time, however long the listing


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "", style="progress.data.speed")


def tell(console: Console, lines: Iterable[str]) -> None:
    """Print remarks as they are: file names may hold what rich takes for markup."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def encoding_progress(console: Console, shown: bool = True) -> Progress:
    """A bar with images done, images/s, and the time gone and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        speed_estimate_period=60,
        disable=not shown,
    )


class JobProgress:
    """Counts a job's images: this process's by the batch, those of others by their commits."""

    def __init__(self, store: Store, bar: Progress) -> None:
        shards, counts = np.unique(
            store.table["row"].to_numpy() // store.rows_per_shard, return_counts=True
        )
        self._images = dict(zip(shards.tolist(), counts.tolist(), strict=True))
        self._store, self._bar = store, bar
        self._own: Counter[int] = Counter()  # shard -> images that are through
        self._others = 0
        self._task = bar.add_task("encoding", total=len(store.table), completed=self._committed())

    def add(self, shard: int, images: int) -> None:
        """Some images of a shard are through, here."""
        self._own[shard] += images
        self._show()

    def wait_for(self, shards: int) -> None:
        """Nothing is left but shards that others hold."""
        self._bar.update(
            self._task, description=f"waiting for {count_nouns(shards, 'shard')} of others"
        )
        self.look()

    def look(self) -> None:
        """Count the commits of others anew."""
        self._committed()
        self._show()

    def _committed(self) -> int:
        own = set(self._own)
        found = (
            self._images.get(shard, 0) for shard in self._store.committed() if shard not in own
        )
        self._others = sum(found)
        return self._others

    def _show(self) -> None:
        self._bar.update(self._task, completed=self._others + self._own.total())


@contextmanager
def job_progress(store: Store, share: Division, console: Console) -> Iterator[JobProgress]:
    """The bar of a job, shown by its rank 0, which looks at the others' commits now and then."""
    with encoding_progress(console, shown=share.rank == 0) as bar:
        progress = JobProgress(store, bar)
        if share.size == 1 or share.rank:
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
            continue  # the other side is away: the work itself will say so
        pause = max(_PERIOD, _SHARE * (time.monotonic() - started))
