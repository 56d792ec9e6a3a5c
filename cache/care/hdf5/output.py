"""A file that HDF5 writes into, which keeps errors for later: HDF5 ends the process over some."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

# HDF5 1.10 (2016) and later read this; unlike the older formats it has checksums in its metadata.
_VERSIONS = ("v110", "v110")


class KeepingFile(io.FileIO):
    """A new file whose first failed write is kept in ``failure``; what follows stays in memory.

    Where a write fails, HDF5 cannot close its file any more: it ends with a traceback or a
    segmentation fault. So it never learns of that, and reads what it has written. The same holds
    for an interruption that comes while it writes. Whoever writes calls ``raise_failure`` after
    each row, so that little is kept.
    """

    failure: BaseException | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._kept: list[tuple[int, bytes]] = []  # offset, bytes

    def write(self, data: "memoryview", /) -> int:  # type: ignore[override]
        """Write all bytes, or keep them."""
        begin, rest = self.tell(), memoryview(data).cast("B")
        try:
            while self.failure is None and rest:
                rest = rest[super().write(rest) :]
        except BaseException as error:
            self.failure = error
        if rest:
            self._kept.append((begin, bytes(data)))
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the file's size, or keep the error."""
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return self.tell() if size is None else size

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]
        """Read bytes, those that are kept too; zeros where nothing was written."""
        begin, place = self.tell(), memoryview(buffer).cast("B")
        read = super().readinto(place) or 0
        place[read:] = bytes(len(place) - read)
        for offset, data in self._kept:
            low, high = max(begin, offset), min(begin + len(place), offset + len(data))
            if low < high:
                place[low - begin : high - begin] = data[low - offset : high - offset]
        return len(place)

    def raise_failure(self) -> None:
        """Raise what was kept; nothing where every byte was written."""
        if self.failure is not None:
            raise self.failure


@contextmanager
def create_hdf5(path: Path) -> Iterator[tuple[h5py.File, KeepingFile]]:
    """A new HDF5 file at ``path``, and what its bytes go through; closed at the end.

    The user calls ``raise_failure`` after writing; it is called after closing, too.
    """
    with KeepingFile(path) as out:
        target = h5py.File(out, "w", libver=_VERSIONS)
        try:
            yield target, out
        finally:
            target.close()
        out.raise_failure()
