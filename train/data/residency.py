"""Choose where the training data are kept: on the device, in memory, or on disk."""

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from samcache.cache.care.stage import FOLDER, find_stage_root
from samcache.cache.errors import ConfigError
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes

_log = logging.getLogger(__name__)
_SHARE = 0.5  # of what is free; the rest is for the model, its activations and other programs


def choose_residency(need: int, device: torch.device, asked: str | None, processes: int = 1) -> str:
    """The first of device, memory and disk with room for so many bytes, or the one asked for.

    On a CPU, memory is the device's. Each of the processes on this machine has a device and data of
    its own. Raises ConfigError where the disk has no room either, or a GPU that was asked for.
    """
    places: list[tuple[str, Callable[[], int]]] = [
        ("device", lambda: measure_free_memory(device)),
        ("memory", free_memory),
    ]
    for residency, free in places[0 if device.type == "cuda" else 1 :]:
        room = free()
        _log.info(
            "%s has %s free, %s wanted", residency, describe_bytes(room), describe_bytes(need)
        )
        copies = 1 if residency == "device" else processes
        if asked is None and need * copies <= _SHARE * room:
            return residency
        if asked == residency == "device" and need > room:
            raise ConfigError(
                f"features and images need {describe_bytes(need)}, {device} has "
                f"{describe_bytes(room)} free: let train choose a place",
                hint="residency",
            )
    if asked in ("device", "memory"):
        return asked if device.type != "cpu" else "memory"
    root = find_stage_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(root).free
    if need * processes > free_bytes:
        wanted, left = describe_bytes(need * processes), describe_bytes(free_bytes)
        raise ConfigError(
            f"features and images need {wanted}, {root} has {left} left: set {FOLDER} to a larger "
            "disk, or choose a larger kernel or fewer taps",
            hint="kernel taps",
        )
    return "disk"


def allocate(
    shape: tuple[int, ...], dtype: torch.dtype, residency: str, device: torch.device
) -> Tensor:
    """An empty tensor on the device, in memory, or in a file of the stage folder without a name.

    The file's space is taken at once: a page that later finds the disk full would end the process
    without a word. It is free again when the process ends, however it ends. Raises OSError where
    the disk has no room.
    """
    if residency != "disk":
        return torch.empty(shape, dtype=dtype, device=device if residency == "device" else "cpu")
    with tempfile.TemporaryFile(dir=find_stage_root()) as file:
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * kind.itemsize)
        return torch.from_numpy(np.memmap(file, kind, "w+", shape=shape))


def measure_free_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that are free, or held by torch for what it may still allocate."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held
