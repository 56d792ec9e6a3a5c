"""What the store keeps of an encoder's maps: averaged over cells, cast, and told what was lost."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.cache.identity import Identity


def pooled(full: Tensor, pool: int) -> Tensor:
    """Maps (B, C, H, W) averaged over pool x pool cells."""
    return F.avg_pool2d(full, pool) if pool > 1 else full


def channel_moments(full: Tensor) -> Tensor:
    """Each image's own mean and population variance of each channel of maps (B, C, H, W): B, 2, C.

    In two passes, which is exact where the mean is large; ``torch.var_mean`` takes five times as
    long on a CPU.
    """
    mean = full.mean(dim=(2, 3), keepdim=True)
    variance = (full - mean).square_().mean(dim=(2, 3))
    return torch.stack([mean.flatten(1), variance], dim=1)


def stored(full: Tensor, identity: Identity) -> tuple[Tensor, Tensor]:
    """Maps (B, C, H, W) float32 pooled and in the storage dtype, and what of them is lost.

    The second is (3,) float32: values that are no numbers already, values that are too large for
    the storage dtype, and the largest of these. Both stay on the device: asking for a number would
    make the host wait.
    """
    exact = pooled(full, identity.pool)
    kept = exact.to(getattr(torch, identity.dtype))
    broken = ~torch.isfinite(exact)
    outside = torch.isfinite(kept).logical_not_().logical_and_(~broken)
    largest = exact.abs().masked_fill(~outside, 0).amax()
    return kept, torch.stack([broken.sum().float(), outside.sum().float(), largest])


def refuse_lost(level: str, lost: Tensor | npt.NDArray[Any], identity: Identity) -> None:
    """Raise ConfigError where a level lost values, saying which option helps; ``lost`` as above."""
    broken, outside, largest = lost.tolist()
    if broken:
        advice = "the checkpoint is damaged or not this encoder's"
        if identity.precision != "float32":
            advice = (
                f"they do not fit into {identity.precision} arithmetic: use --precision float32"
            )
        raise ConfigError(f"level {level} has {broken:.0f} values that are no numbers: {advice}")
    if outside:
        raise ConfigError(
            f"level {level} has {outside:.0f} values that {identity.dtype} cannot hold (largest "
            f"{largest:.3g}): use --dtype float32"
        )
