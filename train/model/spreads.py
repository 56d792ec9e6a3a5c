"""How unevenly each channel of a level lies over an image: what the joined head reads.

Beside its maps a level can be given as its spreads, which go through scaling, controls and views as
a map of one cell, under a name of their own.
"""

from torch import Tensor

LEAST_DEVIATION = 1e-3  # keeps the logarithm of a constant map finite

_SUFFIX = "_spread"


def spread_name(level: str) -> str:
    """The name under which a level's spreads are given."""
    return level + _SUFFIX


def is_spread(name: str) -> bool:
    """Whether a name stands for spreads and not for maps."""
    return name.endswith(_SUFFIX)


def level_of(name: str) -> str:
    """The level that maps or spreads are of."""
    return name.removesuffix(_SUFFIX)


def log_spreads(maps: Tensor) -> Tensor:
    """log(deviation over the cells + 1e-3) of maps (n, C, h, w), (n, C, 1, 1) float32.

    In float64, so that the float32 does not depend on the order in which a library adds up.
    """
    values = maps.double()
    centred = values - values.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return (deviation + LEAST_DEVIATION).log().float()
