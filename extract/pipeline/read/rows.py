"""One image made ready for the encoder, copied from a store, or the reason why it could not be."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from samcache.cache.errors import ImageError
from samcache.cache.format.identity import Identity
from samcache.cache.format.views import turn_pixels
from samcache.extract.images.colour import RGB
from samcache.extract.images.oddities import NO_ODDITIES, Oddities, is_single_colour
from samcache.extract.images.preprocess import parse_preprocessing, to_frame
from samcache.extract.pipeline.read.reuse import KnownRow, KnownRows
from samcache.extract.sources.base import Source

GONE = "it is no longer in the source"  # the reason of images that left it before they were encoded


@dataclass(frozen=True)
class ReadyImage:
    """What the encoder and the store need of an image.

    frames: each view's (S, S, 3) uint8, the encoder's input before normalisation; extents: the
    image's height and width in each; cached: (F, F, 3) uint8, the image as the store keeps it, or
    None, and its height and width in that.
    """

    frames: tuple[RGB, ...]
    extents: tuple[tuple[int, int], ...]
    cached: RGB | None
    cached_extent: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Row:
    """A row of the store: its number, the SHA-256 of its source bytes, and its content.

    Either ``image`` is to be encoded, or ``known`` was encoded before, or ``reason`` says why not.
    ``noted`` is what a user should hear of an image that is to be encoded.
    """

    number: int
    sha256: str
    image: ReadyImage | None = None
    known: KnownRow | None = None
    reason: str = ""
    oddities: Oddities = NO_ODDITIES


def read_row(source: Source, place: int, number: int, known: KnownRows, identity: Identity) -> Row:
    """Load the sample at a place of the source for a row of the store; never raises for an image.

    Bytes that were encoded before are not even decoded.
    """
    try:
        image = source.read_image(place)
    except ImageError as error:
        return Row(number, "", reason=str(error))
    if (found := known.find(image.sha256)) is not None:
        return Row(number, image.sha256, known=found)
    try:
        decoded = image.decode()
        noted = Oddities.of(number, image.several(), is_single_colour(decoded))
        return Row(number, image.sha256, _prepare_image(decoded, identity), oddities=noted)
    except ImageError as error:
        return Row(number, image.sha256, reason=str(error))


def _prepare_image(image: Image.Image, identity: Identity) -> ReadyImage:
    """Make each view of an image in its own frame: the image is turned first, then padded."""
    side, filter_ = identity.image_size, parse_preprocessing(identity.preprocessing).interpolation
    views = (to_frame(_turn_image(image, view), side, filter_) for view in identity.views)
    frames, extents = zip(*views, strict=True)
    if not identity.frame_size:
        return ReadyImage(frames, extents, None)
    return ReadyImage(frames, extents, *to_frame(image, identity.frame_size))


def _turn_image(image: Image.Image, view: str) -> Image.Image:
    if view == "identity":
        return image
    return Image.fromarray(turn_pixels(np.asarray(image), view))
