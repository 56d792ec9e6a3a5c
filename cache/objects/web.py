"""Objects behind a plain web server: read one by one, never listed or written."""

from samcache.cache.objects.base import Part, ReadOnlyObjects
from samcache.cache.objects.bucket import BucketObjects


class WebObjects(ReadOnlyObjects):
    """Reads as from a bucket; refuses everything else."""

    def __init__(self, reader: BucketObjects) -> None:
        self.name = reader.name
        self._reader = reader

    def get(self, key: str, largest: int | None = None) -> bytes:
        return self._reader.get(key, largest)

    def find_size(self, key: str) -> int | None:
        return self._reader.find_size(key)

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        self._reader.read_into(key, buffers)

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        self._reader.read_parts_into(key, parts)
