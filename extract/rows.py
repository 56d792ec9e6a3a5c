"""One image made ready for the encoder, copied from a store, or the reason why it could not be."""

from dataclasses import dataclass

from samcache.cache.errors import ImageError
from samcache.extract.colour import RGB
from samcache.extract.preprocess import to_frame
from samcache.extract.reuse import KnownRow, KnownRows
from samcache.extract.sources import Source


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
    """A row of the store: its number, the SHA-256 of its source bytes, and its content.

    Either ``image`` is to be encoded, or ``known`` was encoded before, or ``reason`` says why not.
    """

    number: int
    sha256: str
    image: ReadyImage | None = None
    known: KnownRow | None = None
    reason: str = ""


def read_row(
    source: Source, place: int, number: int, known: KnownRows, image_size: int, frame_size: int
) -> Row:
    """Load the sample at a place of the source for a row of the store; never raises for an image.

    Bytes that were encoded before are not even decoded.
    """
    try:
        image = source.image(place)
    except ImageError as error:
        return Row(number, "", reason=str(error))
    if (found := known.find(image.sha256)) is not None:
        return Row(number, image.sha256, known=found)
    try:
        pixels = image.decode()
        frame, extent = to_frame(pixels, image_size)
        cached = to_frame(pixels, frame_size)[0] if frame_size else None
        return Row(number, image.sha256, ReadyImage(frame, extent, cached))
    except ImageError as error:
        return Row(number, image.sha256, reason=str(error))
