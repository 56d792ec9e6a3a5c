"""Spreads: the log standard deviation of each channel of a level over an image's map.

The joined head reads spreads. They go through scaling, controls and views as a map of one cell,
under a name of their own.
"""

from torch import Tensor

LEAST_DEVIATION = 1e-3  # keeps the logarithm of a constant map finite

_SUFFIX = "_spread"


def name_spread(level: str) -> str:
    """The name under which a level's spreads are given."""
    return level + _SUFFIX


def is_spread(name: str) -> bool:
    """Whether a name is that of spreads, not of maps."""
    return name.endswith(_SUFFIX)


def find_level(name: str) -> str:
    """The level that maps or spreads are of."""
    return name.removesuffix(_SUFFIX)


def compute_spreads(maps: Tensor) -> Tensor:
    """log(deviation over the cells + 1e-3) of maps (n, C, h, w), (n, C, 1, 1) float32.

    In float64, so that the float32 does not depend on the order in which a library adds up.
    """
    values = maps.double()
    centred = values - values.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return (deviation + LEAST_DEVIATION).log().float()
