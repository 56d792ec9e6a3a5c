"""Where a CPU encodes: several batches side by side, each on its share of the cores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import torch

T = TypeVar("T")
Wait: TypeAlias = Callable[[], T]

_MOST = 8  # each needs memory of its own; Python's own work bounds what more would give


def count_lanes() -> int:
    """Count the batches that a CPU encodes at a time: one per core that torch uses, up to 8.

    A core does a batch with fewer waits than two cores do half of it each: at 512 px MobileSAM and
    ViT-B in bfloat16 take 0.8 of the time (benchmarks/pipeline.md).
    """
    return min(torch.get_num_threads(), _MOST)


class Lanes:
    """Begins work and hands out what waits for it; what has not begun at the end is not done.

    The work itself returns what waits for its result, as work for a GPU does: so one lane is the
    calling thread. Several are threads that have torch's threads in equal shares.
    """

    def __init__(self, count: int) -> None:
        self._threads = torch.get_num_threads()
        share = max(1, self._threads // count)
        self._pool: ThreadPoolExecutor | None = None
        if count > 1:
            self._pool = ThreadPoolExecutor(count, "lane", torch.set_num_threads, (share,))

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)  # the lanes' is that of all later threads

    def begin(self, work: Callable[[], Wait[T]]) -> Wait[T]:
        """Begin with ``work``, here or in a lane that is free or the first to be."""
        return work() if self._pool is None else self._pool.submit(lambda: work()()).result
