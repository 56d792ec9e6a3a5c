"""One image made ready for the encoder, or the reason why it could not be."""

from dataclasses import dataclass

from samcache.cache.errors import ImageError
from samcache.extract.decode import RGB
from samcache.extract.preprocess import to_frame
from samcache.extract.sources import Source, UnreadableImageError


@dataclass(frozen=True)
class ReadyImage:
    """What the encoder and the store need of an image.

    frame: (S, S, 3) uint8, the encoder's input before normalisation; extent: the image's height
    and width in it; cached: (F, F, 3) uint8, the image as the store keeps it, or None.
    """

    frame: RGB
    extent: tuple[int, int]
    cached: RGB | None


@dataclass(frozen=True)
class Row:
    """A row of the store: its number, the SHA-256 of its source bytes, and its image or why not."""

    number: int
    sha256: str
    image: ReadyImage | None
    reason: str = ""


def read_row(source: Source, number: int, image_size: int, frame_size: int) -> Row:
    """Load one sample and fit it to the encoder's square; never raises for a bad image."""
    try:
        loaded = source.load(number)
        frame, extent = to_frame(loaded.pixels, image_size)
        cached = to_frame(loaded.pixels, frame_size)[0] if frame_size else None
        return Row(number, loaded.sha256, ReadyImage(frame, extent, cached))
    except UnreadableImageError as error:
        return Row(number, error.sha256, None, str(error))
    except ImageError as error:
        return Row(number, "", None, str(error))
