"""Objects that are files below a folder."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from obstore import exceptions
from obstore.store import LocalStore, ObjectStore

from samcache.cache.errors import StoreError, first_line
from samcache.cache.objects import Objects, Part
from samcache.cache.regular_file import IrregularFileError, open_regular, size_of_regular

_VECTOR = min(1024, os.sysconf("SC_IOV_MAX"))  # buffers that one call may fill


class FolderObjects(Objects):
    """Objects that are files; what is written is flushed to disk before the call returns."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self.root = root
        self._exclusive = True  # a file system creates exclusively or says that it cannot

    @cached_property
    def store(self) -> ObjectStore:  # type: ignore[override]
        """The folder as obstore knows it; made where it is missing."""
        with self._errors(""):
            return LocalStore(self.root.absolute(), mkdir=True)

    @property
    def uploads(self) -> ObjectStore:  # type: ignore[override]
        """The same: a disk has no connection that could stall."""
        return self.store

    @property
    def folder(self) -> Path:
        return self.root

    def get(self, key: str, largest: int | None = None) -> bytes:
        with self._errors(key), os.fdopen(open_regular(self.root / key), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._check_size(key, size, largest)
            return file.read(size)

    def size(self, key: str) -> int | None:
        try:
            with self._errors(key):
                return size_of_regular(self.root / key)
        except FileNotFoundError:
            return None

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        with self._errors(key), os.fdopen(self._open(key), "rb", 0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != sum(map(len, buffers)):
                raise ValueError(f"it has {size} bytes")
            place = 0
            for start in range(0, len(buffers), _VECTOR):
                group = buffers[start : start + _VECTOR]
                wanted = sum(map(len, group))
                if os.preadv(file.fileno(), group, place) != wanted:
                    # Cut short by a signal, or by the system's limit of 2 GiB a call.
                    super().read_into(key, buffers)
                    return
                place += wanted

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        with self._errors(key):
            descriptor = self._open(key)
            try:
                for offset, buffers in parts:
                    short = sum(map(len, buffers)) - os.preadv(descriptor, buffers, offset)
                    if short:
                        raise ValueError(f"ends {short} bytes too early")
            finally:
                os.close(descriptor)

    def _open(self, key: str) -> int:
        """A descriptor of an object whose content is known; raises ValueError as for its size."""
        try:
            return open_regular(f"{self.name}/{key}")
        except IrregularFileError as error:
            raise ValueError(f"it {error.strerror}") from None

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        if created:
            with suppress(FileNotFoundError):  # who made the same bytes may have removed them
                self._flush(key)
        return created

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self._flush(key)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.root / key
            with self._errors(key):
                path.unlink(missing_ok=True)
            self._prune(path.parent)

    def listing(self, prefix: str) -> dict[str, int]:
        return super().listing(prefix) if self.root.is_dir() else {}

    def children(self, prefix: str) -> tuple[list[str], list[str]]:
        return super().children(prefix) if self.root.is_dir() else ([], [])

    def leftovers(self) -> list[str]:
        """Temporary files: object_store writes ``<name>#<number>`` and renames it."""
        paths = (path for path in self.root.rglob("*#*") if path.is_file())
        return [path.relative_to(self.root).as_posix() for path in paths]

    @contextmanager
    def _errors(self, key: str, absent: bool = True) -> Iterator[None]:
        try:
            yield
        except exceptions.AlreadyExistsError:
            raise
        except OSError as error:
            if absent and isinstance(error, FileNotFoundError | NotADirectoryError):
                raise FileNotFoundError(str(error)) from error
            raise StoreError(f"{self.root / key}: {error.strerror or _reason(error)}") from error
        except MemoryError:
            raise StoreError(f"{self.root / key}: it does not fit in memory") from None
        except exceptions.BaseError as error:
            raise StoreError(f"{self.root / key}: {_reason(error)}") from error

    def _prune(self, folder: Path) -> None:
        """Remove folders that a deletion emptied: Zarr warns of them, and listings walk them."""
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    def _flush(self, key: str) -> None:
        """Force an object and its folder entry to disk, so that a power cut cannot undo them."""
        path = self.root / key
        for target in (path, path.parent):
            with self._errors(key):
                descriptor = os.open(target, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def _reason(error: Exception) -> str:
    """The system's words, which obstore puts last on its first line."""
    return first_line(error).rpartition(": ")[2][:300]
