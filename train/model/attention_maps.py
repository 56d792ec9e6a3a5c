"""Where a classifier's SLCA lets the backbone pass: one map a level, for heat maps and reports."""

from collections.abc import Mapping

import torch
from torch import Tensor

from samcache.train.model.classifier import Classifier


@torch.no_grad()
def compute_attention_maps(model: Classifier, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tapped level's attention, averaged over the channels that it gates.

    pooled: level -> standardised pooled maps (B, C_l, h, w), as ``Classifier.forward`` takes them.
    Returns level -> (B, h, w) float32 in [0, 1] on the CPU: 0 where every channel is shut, 1 where
    all pass. Rows and columns are cells of the encoder's square frame, from its upper left corner;
    SLCA grows them to its stage by nearest neighbour. Empty for a classifier without attention.
    """
    gates = model.compute_gates(pooled)
    return {level: found.float().mean(dim=1).cpu() for level, found in gates.items()}
