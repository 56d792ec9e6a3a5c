"""The SHA-256 of the bytes of a source's images, read in several threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from samcache.cache.errors import ImageError
from samcache.extract.sources.base import Source

_HASHERS = 8  # threads that read source bytes
_TOGETHER = 16  # images that a thread is given at a time: of a million, each would cost a kilobyte


def read_hashes(
    source: Source, places: Sequence[int], on_images: Callable[[int, int], None]
) -> Iterator[str | None]:
    """Read SHA-256 (hex) of the source's bytes at each place, in order; None where unreadable.

    on_images: called with the number of images read so far, and of all.
    """

    def hash_image(place: int) -> str | None:
        try:
            return source.read_image(place).sha256
        except ImageError:
            return None

    def hash_images(first: int) -> list[str | None]:
        return [hash_image(place) for place in places[first : first + _TOGETHER]]

    done = 0
    with ThreadPoolExecutor(_HASHERS) as pool:
        for part in pool.map(hash_images, range(0, len(places), _TOGETHER)):
            done += len(part)
            on_images(done, len(places))
            yield from part


class SourceHashes:
    """The SHA-256 of a source's images, each read once and only when it is asked for."""

    def __init__(self, source: Source, on_images: Callable[[int, int], None]) -> None:
        """on_images: as ``read_hashes`` takes it."""
        self._source, self._on_images = source, on_images
        self._known: dict[int, str] = {}

    def __call__(self, places: list[int]) -> list[str]:
        """The hashes of the images at some places, "" where one cannot be read."""
        unread = [place for place in places if place not in self._known]
        if unread:
            found = read_hashes(self._source, unread, self._on_images)
            self._known |= {place: sha or "" for place, sha in zip(unread, found, strict=True)}
        return [self._known[place] for place in places]
