"""A cached frame as another view has it, for comparison."""

from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.format.views import turn_pixels

Array = npt.NDArray[Any]


def turned_frame(frame: Array, extent: tuple[int, int], view: str) -> Array:
    """The frame (F, F, …) of view 0 as ``view`` has it: padding stays below and to the right."""
    image = turn_pixels(frame[: extent[0], : extent[1]], view)
    out = np.zeros_like(frame)
    out[: image.shape[0], : image.shape[1]] = image
    return out
