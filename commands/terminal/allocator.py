"""The process's memory: kept for the next batch instead of given back to the system after each."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Have the C library hand out freed memory again; the system gets it when the process ends.

    By default glibc maps blocks of more than 32 MiB, and often smaller ones, anew each time. The
    system then clears every page at its first use, a third of the time of MobileSAM at 1024 pixels
    on a CPU (benchmarks/encoder.md). All threads share what there is: memory of a thread's own goes
    back whatever is set. Nothing is done where the C library is another.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_ARENA_MAX, 1)
