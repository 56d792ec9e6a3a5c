"""How much main memory there is for what a file asks for."""

import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")  # a container's or a batch job's own limit


def free_memory() -> int:
    """Bytes of main memory that are free, or can be freed, for this process."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        values = dict(line.split(":") for line in lines)
        free = int(values["MemAvailable"].split()[0]) * 1024
    except (FileNotFoundError, KeyError):  # not Linux: half of what there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit = int((_GROUP / "memory.max").read_text("ascii"))
        used = int((_GROUP / "memory.current").read_text("ascii"))
        lines = (_GROUP / "memory.stat").read_text("ascii").splitlines()
    except (FileNotFoundError, ValueError):  # no such group, or the limit is "max"
        return free
    cached = int(dict(line.split() for line in lines)["inactive_file"])  # files read, and not kept
    return min(free, limit - used + cached)
