"""The SHA-256 of the bytes of a source's images, read in several threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from samcache.cache.errors import ImageError
from samcache.extract.sources.base import Source

_HASHERS = 8  # threads that read source bytes
_TOGETHER = 16  # images that a thread is given at a time: of a million, each would cost a kilobyte


def source_hashes(
    source: Source, places: list[int], on_image: Callable[[], None]
) -> Iterator[str | None]:
    """SHA-256 (hex) of the source's bytes at each place, in order, None where unreadable."""

    def one(place: int) -> str | None:
        on_image()
        try:
            return source.image(place).sha256
        except ImageError:
            return None

    def some(first: int) -> list[str | None]:
        return [one(place) for place in places[first : first + _TOGETHER]]

    with ThreadPoolExecutor(_HASHERS) as pool:
        for part in pool.map(some, range(0, len(places), _TOGETHER)):
            yield from part
