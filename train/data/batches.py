"""The rows of an epoch's batches, where they are wanted, and mixup of what they hold."""

import numpy as np
import torch
from torch import Tensor


def order_batches(
    rows: Tensor,
    size: int,
    generator: torch.Generator,
    least: int = 2,
    balanced: Tensor | None = None,
) -> list[Tensor]:
    """The rows (m,) of an epoch in batches of a size, shuffled.

    balanced: labels (n,) of all samples, by which rows are drawn so that classes are equally
    likely. A last batch of fewer than ``least`` is left out.
    """
    if balanced is None:
        order = rows[torch.randperm(len(rows), generator=generator)]
    else:
        own = balanced.cpu()[rows]
        chances = 1 / torch.bincount(own).float()[own]
        order = rows[torch.multinomial(chances, len(rows), replacement=True, generator=generator)]
    return [batch for batch in torch.split(order, size) if len(batch) >= least]


def move_batches(batches: list[Tensor], device: torch.device) -> list[Tensor]:
    """The same rows on a device, by one copy: each copy makes the host wait for a GPU."""
    sizes = [len(batch) for batch in batches]
    return list(torch.split(torch.cat(batches).to(device), sizes))


def draw_mixing_shares(alpha: float, batches: int, seed: int, epoch: int) -> list[float]:
    """For every batch the share of each sample that is its own, at least a half; 1 without mixup.

    Drawn from Beta(alpha, alpha) as in Zhang et al. 2018.
    """
    if alpha == 0:
        return [1.0] * batches
    drawn = np.random.default_rng((seed % 2**32, epoch)).beta(alpha, alpha, batches)
    return [float(share) for share in np.maximum(drawn, 1 - drawn)]


def mix_samples(values: Tensor, partners: Tensor, share: float) -> Tensor:
    """Each sample of (B, …) with its partner's: share of its own, the rest of the partner's."""
    return torch.lerp(values[partners], values, share)
