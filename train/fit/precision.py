"""What a training computes in: float32, or bfloat16 where the device has it."""

from contextlib import AbstractContextManager

import torch

from samcache.cache.errors import ConfigError
from samcache.train.config import Precision

_AMPERE = 8  # the first generation of GPUs with bfloat16


def resolve_precision(asked: Precision, device: torch.device) -> Precision:
    """The precision asked for; for "auto" bfloat16 on GPUs that have it, else float32.

    Raises ConfigError where bfloat16 is asked of a GPU without it.
    """
    if asked == "float32" or (asked == "auto" and device.type != "cuda"):
        return "float32"
    has = device.type != "cuda" or torch.cuda.get_device_properties(device).major >= _AMPERE
    if not has and asked == "bfloat16":
        raise ConfigError(f"{device} has no bfloat16: choose auto or float32", hint="precision")
    return "bfloat16" if has else "float32"


def forbid_tf32() -> None:
    """Make convolutions in float32 what they are called on GPUs too, for the whole process.

    By default torch computes them in TF32, to three decimal digits.
    """
    torch.backends.cudnn.allow_tf32 = False


def compute_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Weights stay float32; in bfloat16, torch chooses which operations use it."""
    enabled = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
