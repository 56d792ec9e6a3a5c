"""Objects that are files below a folder; nothing outside the folder is written or removed."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from io import FileIO
from itertools import accumulate, islice
from pathlib import Path

import obstore
from obstore import exceptions
from obstore.store import LocalStore, ObjectStore

from samcache.cache.errors import AccessError, StoreError, describe_os_error, read_first_line
from samcache.cache.files.regular_file import IrregularFileError, measure_regular, open_regular
from samcache.cache.objects.base import Objects, Part, fill_buffers

_VECTOR = min(1024, os.sysconf("SC_IOV_MAX"))  # buffers that one call may fill
_TRIES = 10  # of creating an object that others create and remove at the same time


class FolderObjects(Objects):
    """Objects that are files; a written file is flushed to disk before the call returns.

    The root may be a symbolic link. Below it, links are followed when reading (git-annex and DVC
    store files in this way) and refused when writing or removing. A link that another process
    creates between the check and the write is not detected.
    """

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self.root = root

    @cached_property
    def _store(self) -> ObjectStore:
        """The folder as obstore knows it; made where it is missing."""
        with self._explain_errors(""):
            return LocalStore(self.root.absolute(), mkdir=True)

    @property
    def folder(self) -> Path:
        return self.root

    def get(self, key: str, largest: int | None = None) -> bytes:
        with self._explain_errors(key), os.fdopen(open_regular(self._path(key)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.check_size(key, size, largest)
            return file.read(size)

    def find_size(self, key: str) -> int | None:
        try:
            with self._explain_errors(key):
                return measure_regular(self._path(key))
        except FileNotFoundError:
            return None

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        wanted = sum(map(len, buffers))
        with self._explain_errors(key), os.fdopen(self._open(key), "rb", 0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != wanted:
                raise ValueError(f"it has {size} bytes")
            place = 0
            for start in range(0, len(buffers), _VECTOR):
                group = buffers[start : start + _VECTOR]
                read = os.preadv(file.fileno(), group, place)
                place += read
                if read != sum(map(len, group)):
                    # cut short by a signal, or by the system's limit of 2 GiB a call
                    fill_buffers(memoryview(_read_all(file, wanted)), buffers)
                    return

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        with self._explain_errors(key):
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
        self._check_owned(key)
        for _ in range(_TRIES):
            try:
                with self._explain_errors(key, absent=False):
                    obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                size = self.find_size(key)
                if size is None:
                    continue  # it has just been removed
                if size != len(data) or self.find(key) != data:
                    return False
            with suppress(FileNotFoundError):  # who made the same bytes may have removed them
                self._flush(key)
            return True
        raise StoreError(f"{self.root / key}: another process repeatedly creates and removes it")

    def put(self, key: str, data: bytes) -> None:
        self._check_owned(key)
        with self._explain_errors(key, absent=False):
            obstore.put(self._store, key, data, use_multipart=False)
        self._flush(key)

    def _flush(self, key: str) -> None:
        """Force an object and its folder entry to disk, so that a power cut cannot undo them."""
        path = self.root / key
        for target in (path, path.parent):
            with self._explain_errors(key):
                descriptor = os.open(target, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._check_owned(key)
            with self._explain_errors(key):
                path.unlink(missing_ok=True)
            self._remove_emptied(path.parent)

    def _remove_emptied(self, folder: Path) -> None:
        """Remove folders that a deletion emptied: Zarr warns of them, and listings walk them."""
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    def list_objects(self, prefix: str) -> dict[str, int]:
        if not self.root.is_dir():
            return {}
        with self._explain_errors(prefix, absent=False):
            batches = obstore.list(self._store, prefix or None)
            return {entry["path"]: entry["size"] for batch in batches for entry in batch}

    def list_children(self, prefix: str) -> tuple[list[str], list[str]]:
        if not self.root.is_dir():
            return [], []
        with self._explain_errors(prefix, absent=False):
            found = obstore.list_with_delimiter(self._store, prefix or None)
            return list(found["common_prefixes"]), [entry["path"] for entry in found["objects"]]

    def find_leftovers(self) -> list[str]:
        """Temporary files: object_store writes ``<name>#<number>`` and renames it."""
        paths = (path for path in self.root.rglob("*#*") if path.is_file())
        return [path.relative_to(self.root).as_posix() for path in paths]

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders below a prefix; Zarr readers warn of them."""
        if not self.find_link(prefix):
            for folder, _, _ in os.walk(self.root / prefix, topdown=False):  # enters no links
                with suppress(OSError):  # it is not empty
                    Path(folder).rmdir()

    def find_link(self, key: str) -> str:
        steps = accumulate(key.split("/"), "{}/{}".format, initial=self.name)
        with suppress(FileNotFoundError, NotADirectoryError), self._explain_errors(key):
            for place in islice(steps, 1, None):
                if stat.S_ISLNK(os.lstat(place).st_mode):
                    return place
        return ""

    def _check_owned(self, key: str) -> Path:
        """The file of a key that is to be written or removed; raises StoreError behind a link."""
        path = self._path(key)
        if link := self.find_link(key):
            raise StoreError(
                f"{link} is a symbolic link: samcache does not write or remove through links "
                "inside a store; replace the link by the files behind it, or make a copy of the "
                "store with "
                "samcache cache copy"
            )
        return path

    def _path(self, key: str) -> Path:
        """The file of a key; raises StoreError where the key leads out of the folder."""
        if "\0" in key or not {"", ".", ".."}.isdisjoint(key.split("/")):
            raise StoreError(f"{self.name}: {key!r} is not an object name: the store is damaged")
        return self.root / key

    @contextmanager
    def _explain_errors(self, key: str, absent: bool = True) -> Iterator[None]:
        """Turn errors into one line for a user; ``absent``: but for an absent object's error."""
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
            raise StoreError(f"{self.root / key}: {_find_reason(error)}") from error


def _read_all(file: FileIO, wanted: int) -> bytes:
    """The bytes of a file from its beginning; raises ValueError where its size has changed."""
    file.seek(0)
    data = file.readall()
    if len(data) != wanted:
        raise ValueError(f"it has {len(data)} bytes")
    return data


def _explain(path: Path, error: OSError) -> StoreError:
    """The error, for a user, of what the system refuses to do with a file of a store."""
    if isinstance(error, IrregularFileError) or error.errno is None:
        return StoreError(f"{path}: {error.strerror or _find_reason(error)}")
    kind = AccessError if isinstance(error, PermissionError) else StoreError
    return kind(describe_os_error(type(error)(error.errno, error.strerror, str(path))))


def _find_reason(error: Exception) -> str:
    """The system's words, which obstore puts last on its first line."""
    return read_first_line(error).rpartition(": ")[2][:300]
