"""What an encoder's matrix products are computed in."""

from collections.abc import Iterable
from pathlib import Path

import torch

from samcache.cache.errors import ConfigError
from samcache.cache.format.description import ROOT, read_description
from samcache.cache.objects.location import open_objects

_AMPERE = 8  # the first generation of GPUs with bfloat16


def resolve_precision(asked: str, device: torch.device, stores: Iterable[str | Path] = ()) -> str:
    """A precision's name; "auto" is bfloat16 on a device where it is fast, and else float32.

    stores: the store to resume and stores to copy from, which may not exist; where one is in
    float32, which every device has, "auto" is float32 too. Raises ConfigError where bfloat16 is
    asked of a GPU without it, StoreError where a store's root record is damaged.
    """
    if asked not in ("auto", "bfloat16"):
        return asked
    is_fast = multiplies_bfloat16(device)
    if asked == "auto":
        fits = is_fast and "float32" not in map(_read_precision, stores)
        return "bfloat16" if fits else "float32"
    if device.type == "cuda" and not is_fast:
        raise ConfigError(f"{device} has no bfloat16: use float16", hint="precision")
    return asked


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is the fast way: on GPUs that have it, and CPUs with Intel's AMX.

    CPUs that have bfloat16 without AMX are slower in it than in float32 (benchmarks/encoder.md).
    """
    if device.type == "cuda":
        return bool(torch.cuda.get_device_properties(device).major >= _AMPERE)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def _read_precision(location: str | Path) -> str | None:
    """The precision of the store at a place; None where there is none."""
    objects = open_objects(location)
    if objects.find_size(ROOT) is None:
        return None
    return read_description(objects).identity.precision
