"""Objects that are files below a folder, of which nothing outside is ever written or removed."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path

from obstore import exceptions
from obstore.store import LocalStore, ObjectStore

from samcache.cache.errors import AccessError, StoreError, describe_os_error, first_line
from samcache.cache.files.regular_file import IrregularFileError, open_regular, size_of_regular
from samcache.cache.objects.base import Objects, Part

_VECTOR = min(1024, os.sysconf("SC_IOV_MAX"))  # buffers that one call may fill


class FolderObjects(Objects):
    """Objects that are files; what is written is flushed to disk before the call returns.

    The root may be a symbolic link. Below it, links are followed when reading (git-annex and DVC
    store files in this way) and refused when writing or removing. A link that another process
    puts there between the check and the write is not detected.
    """

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self.root = root
        self._exclusive = True  # a file system creates exclusively or says that it cannot

    @cached_property
    def store(self) -> ObjectStore:
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
        with self._errors(key), os.fdopen(open_regular(self._path(key)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._check_size(key, size, largest)
            return file.read(size)

    def size(self, key: str) -> int | None:
        try:
            with self._errors(key):
                return size_of_regular(self._path(key))
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
            return open_regular(self._path(key))
        except IrregularFileError as error:
            raise ValueError(f"it {error.strerror}") from None

    def create(self, key: str, data: bytes) -> bool:
        self._own(key)
        created = super().create(key, data)
        if created:
            with suppress(FileNotFoundError):  # who made the same bytes may have removed them
                self._flush(key)
        return created

    def put(self, key: str, data: bytes) -> None:
        self._own(key)
        super().put(key, data)
        self._flush(key)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._own(key)
            with self._errors(key):
                path.unlink(missing_ok=True)
            self._prune(path.parent)

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders below a prefix; Zarr readers warn of them."""
        if not self.link_on(prefix):
            for folder, _, _ in os.walk(self.root / prefix, topdown=False):  # enters no links
                with suppress(OSError):  # it holds something
                    Path(folder).rmdir()

    def link_on(self, key: str) -> str:
        steps = accumulate(key.split("/"), "{}/{}".format, initial=self.name)
        with suppress(FileNotFoundError, NotADirectoryError), self._errors(key):
            for place in islice(steps, 1, None):
                if stat.S_ISLNK(os.lstat(place).st_mode):
                    return place
        return ""

    def _own(self, key: str) -> Path:
        """The file of a key that is to be written or removed; raises StoreError behind a link."""
        path = self._path(key)
        if link := self.link_on(key):
            raise StoreError(
                f"{link} is a symbolic link: nothing is written or removed through links inside a "
                "store; replace the link by what it points to, or make a copy of the store with "
                "samcache cache copy"
            )
        return path

    def _path(self, key: str) -> Path:
        """The file of a key; raises StoreError where the key leads out of the folder."""
        if "\0" in key or not {"", ".", ".."}.isdisjoint(key.split("/")):
            raise StoreError(f"{self.name}: {key!r} is no name of an object: the store is damaged")
        return self.root / key

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
            raise _explain(self.root / key, error) from error
        except MemoryError:
            raise StoreError(f"{self.root / key}: it does not fit in memory") from None
        except exceptions.PermissionDeniedError as error:
            denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            raise _explain(self.root / key, denied) from error
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


def _explain(path: Path, error: OSError) -> StoreError:
    """What a user should read about an error of the system's with a file of a store."""
    if isinstance(error, IrregularFileError) or error.errno is None:
        return StoreError(f"{path}: {error.strerror or _reason(error)}")
    kind = AccessError if isinstance(error, PermissionError) else StoreError
    return kind(describe_os_error(type(error)(error.errno, error.strerror, str(path))))


def _reason(error: Exception) -> str:
    """The system's words, which obstore puts last on its first line."""
    return first_line(error).rpartition(": ")[2][:300]
