"""Keep freed memory in the process, so that the next batch can use it without new pages."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed memory instead of returning it to the system.

    By default glibc maps every block above 32 MiB, and many smaller ones, at each allocation. The
    system then clears every page at its first use, which takes a third of the time of MobileSAM at
    1024 pixels on a CPU (benchmarks/encoder.md). All threads share one arena, because glibc always
    returns the memory of other arenas. With another C library, this function does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_ARENA_MAX, 1)
