"""Views: the eight flips and rotations of a square image.

A frozen encoder is not equivariant: the map of a flipped image is not the flipped map. So each view
is encoded by itself, and a training on view v turns the image as this module does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class View:
    """Exchange rows and columns, then reverse the rows, then the columns; each if set."""

    transpose: bool = False
    flip_v: bool = False  # the last row comes first: upside down
    flip_h: bool = False  # the last column comes first: mirrored


# rot90 turns counterclockwise, as numpy.rot90 does
VIEWS: dict[str, View] = {
    "identity": View(),
    "flip_h": View(flip_h=True),
    "flip_v": View(flip_v=True),
    "rot180": View(flip_v=True, flip_h=True),
    "transpose": View(transpose=True),
    "rot90": View(transpose=True, flip_v=True),
    "rot270": View(transpose=True, flip_h=True),
    "transverse": View(transpose=True, flip_v=True, flip_h=True),
}

# the choices of views, each with the order of the V axis
VIEW_SETS: dict[str, tuple[str, ...]] = {
    "identity": ("identity",),
    "flips": ("identity", "flip_h", "flip_v", "rot180"),
    "dihedral": tuple(VIEWS),
}


def turn_pixels(pixels: Array, view: str) -> Array:
    """An image (H, W, …) as a view shows it, (H, W, …) or, transposed, (W, H, …)."""
    how = VIEWS[view]
    if how.transpose:
        pixels = pixels.swapaxes(0, 1)
    if how.flip_v:
        pixels = pixels[::-1]
    if how.flip_h:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
