"""What a user should hear of images that can be read: a frame among several, a single colour."""

import io
from dataclasses import dataclass

import pandas as pd
from PIL import Image

from samcache.extract.images.decode import FORMATS
from samcache.extract.images.dicom.file import is_dicom
from samcache.extract.images.dicom.frames import count_frames

_SHOWN = 5  # images that are named
_STEPS = 8  # pixels on the diagonal that are looked at first


@dataclass(frozen=True)
class Tally:
    """How many images, and the first few: rows of a store, or ids."""

    count: int = 0
    first: tuple[int | str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.count + other.count, (self.first + other.first)[:_SHOWN])

    def named(self, ids: "pd.Series[str]") -> "Tally":
        """The same with ids, which ``ids`` has by row, for rows."""
        return Tally(self.count, tuple(str(ids.get(row, row)) for row in self.first))


@dataclass(frozen=True)
class Noted:
    """Images of files with several frames or pages, and images of a single colour."""

    several: Tally = Tally()
    single_colour: Tally = Tally()

    @classmethod
    def of(cls, image: int | str, several: bool, single_colour: bool) -> "Noted":
        """What is noted of one image."""
        one = Tally(1, (image,))
        return cls(one if several else Tally(), one if single_colour else Tally())

    def __add__(self, other: "Noted") -> "Noted":
        """Both together."""
        return Noted(self.several + other.several, self.single_colour + other.single_colour)

    def named(self, ids: "pd.Series[str]") -> "Noted":
        """The same with ids for rows."""
        return Noted(self.several.named(ids), self.single_colour.named(ids))

    def lines(self) -> list[str]:
        """A line for each kind of which there are some."""
        several, single = self.several, self.single_colour
        files = "1 file has" if several.count == 1 else f"{several.count} files have"
        images = "1 image is" if single.count == 1 else f"{single.count} images are"
        found = [
            (several, f"{files} several frames or pages: the first is used"),
            (single, f"{images} a single colour"),
        ]
        return [f"{text} ({_first(tally)})" for tally, text in found if tally.count]


NOTHING = Noted()


def has_several_frames(data: bytes) -> bool:
    """Whether an image file that can be read holds more frames or pages than one.

    Headers are read, and no pixels: a tenth of a millisecond.
    """
    try:
        if is_dicom(data):
            return count_frames(data) > 1
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # decoding has the last word on a file
        return False


def is_single_colour(image: Image.Image) -> bool:
    """Whether all pixels of an image in RGB are the same; a few of them mostly say that not."""
    across = {
        image.getpixel((image.width * k // _STEPS, image.height * k // _STEPS))
        for k in range(_STEPS)
    }
    if len(across) > 1:
        return False
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


def _first(tally: Tally) -> str:
    names = [str(name).encode("utf-8", "backslashreplace").decode() for name in tally.first]
    more = ", …" if tally.count > len(names) else ""
    return f"first: {', '.join(names)}{more}"
