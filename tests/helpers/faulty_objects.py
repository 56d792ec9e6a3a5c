"""Folders that fail in known ways, for tests of what must survive it."""

import threading
from collections.abc import Callable
from pathlib import Path

from samcache.cache.errors import StoreError
from samcache.cache.objects.folder import FolderObjects

Stop = Callable[[], None]


def cut_off() -> None:
    """What a connection that breaks raises."""
    raise StoreError("cut off")


class BreakingFolder(FolderObjects):
    """Takes so many writes, claims among them, and then calls ``stop`` instead of each."""

    def __init__(self, root: Path, writes: int, stop: Stop = cut_off) -> None:
        super().__init__(root)
        self.writes = writes
        self._stop = stop
        self._lock = threading.Lock()

    def _count(self) -> None:
        with self._lock:
            self.writes -= 1
            if self.writes < 0:
                self._stop()

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._count()
        super().put(key, data)


class FlippingFolder(FolderObjects):
    """Flips a bit of the objects below a prefix, so many times, as they are read or written."""

    def __init__(self, root: Path, prefix: str, reads: int = 0, writes: int = 0) -> None:
        super().__init__(root)
        self._prefix = prefix
        self._reads = reads
        self._writes = writes

    def get(self, key: str, largest: int | None = None) -> bytes:
        data = super().get(key, largest)
        if key.startswith(self._prefix) and self._reads:
            self._reads -= 1
            return flipped(data)
        return data

    def create(self, key: str, data: bytes) -> bool:
        if key.startswith(self._prefix) and self._writes:
            self._writes -= 1
            return super().create(key, flipped(data))
        return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        if key.startswith(self._prefix) and self._writes:
            self._writes -= 1
            data = flipped(data)
        super().put(key, data)


def flipped(data: bytes) -> bytes:
    """The same bytes but for one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def flip(path: Path) -> None:
    """Flip one bit of a file."""
    path.write_bytes(flipped(path.read_bytes()))
