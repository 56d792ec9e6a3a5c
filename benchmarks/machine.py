"""On what a benchmark ran."""

import os
import platform
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Cores, memory, GPU and Python of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_GiB": round(memory / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
    }
