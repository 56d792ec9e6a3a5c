"""A second head, which classifies the spreads of the frozen features."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samcache.train.data.spreads import is_spread

_HIDDEN = 256
_DROPOUT = 0.2, 0.5  # of what it reads, and of what it makes of it


class JoinedHead(nn.Module):
    """Logits from how unevenly every channel lies over the image, beside the backbone's.

    Where in an image something is matters to the gates; how unevenly each channel lies classifies
    by itself, better than the channels' means do.
    """

    def __init__(self, channels: Mapping[str, int], classes: int) -> None:
        """channels: of everything that a classifier is given; the head reads the spreads of it."""
        super().__init__()
        self.names = tuple(name for name in channels if is_spread(name))
        first, second = _DROPOUT
        self.layers = nn.Sequential(
            nn.Dropout(first),
            nn.Linear(sum(channels[name] for name in self.names), _HIDDEN),
            nn.GELU(),
            nn.Dropout(second),
            nn.Linear(_HIDDEN, classes),
        )

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, classes) of name -> standardised spreads (B, C, 1, 1), beside maps."""
        read = torch.cat([given[name].flatten(1) for name in self.names], dim=1)
        logits: Tensor = self.layers(read)
        return logits
