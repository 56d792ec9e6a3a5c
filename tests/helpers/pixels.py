"""What is decoded, as an array."""

import numpy as np
import numpy.typing as npt

from samcache.extract.images.colour import Window
from samcache.extract.images.decode import decode_image


def pixels_of(data: bytes, window: Window | None = None, frame: int = 0) -> npt.NDArray[np.uint8]:
    """The pixels of an image file's bytes, (H, W, 3)."""
    return np.asarray(decode_image(data, window, frame))
