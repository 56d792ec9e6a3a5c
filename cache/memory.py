"""Free main memory, and errors of too little memory."""

import os
from pathlib import Path

_WORDS = (  # in errors of numpy, torch, its compiled code, cuBLAS and C++
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "allocate memory",
    "Unable to allocate",
    "bad_alloc",
)
_GROUP = Path("/sys/fs/cgroup")  # a container's or a batch job's own limit


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports too little memory, of the system or of a device."""
    named = any(words in str(error) for words in _WORDS)
    kinds = {kind.__name__ for kind in type(error).__mro__}  # torch's own, without torch
    return bool(named or kinds & {"MemoryError", "OutOfMemoryError"})


def free_memory() -> int:
    """Bytes of main memory that are free, or can be freed, for this process."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        values = dict(line.split(":") for line in lines)
        free = int(values["MemAvailable"].split()[0]) * 1024
    except (FileNotFoundError, KeyError):  # not Linux: half of the memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit = int((_GROUP / "memory.max").read_text("ascii"))
        used = int((_GROUP / "memory.current").read_text("ascii"))
        lines = (_GROUP / "memory.stat").read_text("ascii").splitlines()
    except (FileNotFoundError, ValueError):  # no such group, or the limit is "max"
        return free
    cached = int(dict(line.split() for line in lines)["inactive_file"])  # files read, and not kept
    return min(free, limit - used + cached)
