"""What the store keeps of an encoder's maps: averaged over cells, cast, and told what was lost."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.cache.text import count_are, count_nouns


def pool_maps(full: Tensor, pool: int) -> Tensor:
    """Average maps (B, C, H, W) over pool x pool cells."""
    return F.avg_pool2d(full, pool) if pool > 1 else full


def measure_channels(full: Tensor) -> Tensor:
    """Measure each image's mean and population variance per channel of maps (B, C, H, W): B, 2, C.

    In two passes, which is exact where the mean is large; ``torch.var_mean`` takes eight times as
    long on a CPU.
    """
    mean = _average(full)
    variance = _average((full - mean).square_())
    return torch.stack([mean.flatten(1), variance.flatten(1)], dim=1)


def _average(maps: Tensor) -> Tensor:
    """Over H and W, (B, C, 1, 1); over squares of cells first, which a CPU adds up faster."""
    side = math.gcd(4, maps.shape[2], maps.shape[3])
    return pool_maps(maps, side).mean(dim=(2, 3), keepdim=True)


def cast_maps(exact: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
    """Cast pooled maps (B, C, h, w) float32 to the storage dtype; also their largest magnitude.

    That is () float32, and infinite or NaN where a value is. Both stay on the device: asking for a
    number would make the host wait.
    """
    return exact.to(getattr(torch, dtype)), exact.abs().amax()


def refuse_lost_values(
    level: str, kept: npt.NDArray[np.floating], largest: float, precision: str
) -> None:
    """Raise ConfigError where the storage dtype cannot hold a level's values, with what helps.

    kept, largest: of ``cast_maps``; precision: of the arithmetic that the level is computed in.
    """
    if largest <= float(np.finfo(kept.dtype).max):  # never so where it is NaN
        return
    lost = kept.size - np.isfinite(kept).sum()
    if not np.isfinite(largest):
        advice, hint = "the checkpoint is damaged or not this encoder's", "checkpoint"
        if precision != "float32":
            advice = f"they do not fit into {precision} arithmetic: use float32"
            hint = "precision"
        raise ConfigError(f"level {level}: {count_are(lost, 'value')} not finite: {advice}", hint)
    if lost:  # none where it is rounded down to the greatest that there is
        raise ConfigError(
            f"level {level} has {count_nouns(lost, 'value')} that {kept.dtype} cannot hold "
            f"(largest {largest:.3g}): use float32",
            hint="dtype",
        )
