"""A second head beside the backbone's, which reads the frozen features by themselves."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_HIDDEN = 256
_DROPOUT = 0.2, 0.5  # of what it reads, and of what it makes of it
_LEAST_DEVIATION = 1e-3  # keeps the logarithm of a constant map finite


class JoinedHead(nn.Module):
    """Logits from the mean and the spread of every level's map, to be added to the backbone's.

    Where in an image something is matters to the gates; how much of it there is, and how unevenly,
    classifies by itself, as a probe of the store shows. The last layer starts at zero, so that a
    training starts from the backbone alone.
    """

    def __init__(self, level_channels: Mapping[str, int], classes: int) -> None:
        super().__init__()
        self.levels = tuple(level_channels)
        read = 2 * sum(level_channels.values())
        first, second = _DROPOUT
        self.layers = nn.Sequential(
            nn.BatchNorm1d(read, affine=False),
            nn.Dropout(first),
            nn.Linear(read, _HIDDEN),
            nn.GELU(),
            nn.Dropout(second),
        )
        self.logits = nn.Linear(_HIDDEN, classes)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, pooled: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, classes) of level -> standardised pooled maps (B, C_l, h, w)."""
        maps = [pooled[level].flatten(2) for level in self.levels]
        means = [values.mean(dim=2) for values in maps]
        spreads = [values.std(dim=2, correction=0) + _LEAST_DEVIATION for values in maps]
        read = torch.cat([*means, *(spread.log() for spread in spreads)], dim=1)
        logits: Tensor = self.logits(self.layers(read))
        return logits
