"""What is odd about images that can be read: further frames that are not used, a single colour."""

import io
from dataclasses import dataclass

import pandas as pd
from PIL import Image

from samcache.extract.images.decode import FORMATS
from samcache.extract.images.dicom.file import has_dicom_bytes
from samcache.extract.images.dicom.frames import count_frames

_SHOWN = 5  # images that are named
_STEPS = 8  # pixels on the diagonal that are compared first


@dataclass(frozen=True)
class Tally:
    """How many images, and the first few: rows of a store, or ids."""

    count: int = 0
    first: tuple[int | str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        """The sum of both."""
        return Tally(self.count + other.count, (self.first + other.first)[:_SHOWN])

    def with_ids(self, ids: "pd.Series[str]") -> "Tally":
        """The same with ids in place of rows; ``ids`` has them by row."""
        return Tally(self.count, tuple(str(ids.get(row, row)) for row in self.first))


@dataclass(frozen=True)
class Oddities:
    """Images of files with several frames or pages, and images of a single colour."""

    several: Tally = Tally()
    single_colour: Tally = Tally()

    @classmethod
    def of(cls, image: int | str, several: bool, single_colour: bool) -> "Oddities":
        """The oddities of one image."""
        one = Tally(1, (image,))
        return cls(one if several else Tally(), one if single_colour else Tally())

    def __add__(self, other: "Oddities") -> "Oddities":
        """The sum of both."""
        return Oddities(self.several + other.several, self.single_colour + other.single_colour)

    def with_ids(self, ids: "pd.Series[str]") -> "Oddities":
        """The same with ids in place of rows."""
        return Oddities(self.several.with_ids(ids), self.single_colour.with_ids(ids))


NO_ODDITIES = Oddities()


def has_several_frames(data: bytes) -> bool:
    """Whether an image file that can be read holds more frames or pages than one.

    Headers are read, and no pixels: a tenth of a millisecond.
    """
    try:
        if has_dicom_bytes(data):
            return count_frames(data) > 1
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # decoding decides whether the file can be read
        return False


def is_single_colour(image: Image.Image) -> bool:
    """Whether all pixels of an RGB image are the same; a few pixels mostly rule this out."""
    across = {
        image.getpixel((image.width * k // _STEPS, image.height * k // _STEPS))
        for k in range(_STEPS)
    }
    if len(across) > 1:
        return False
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]
