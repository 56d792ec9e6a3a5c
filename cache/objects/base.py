"""The interface to the place of a store: whole objects below one root, addressed by keys."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from samcache.cache.errors import StoreError

LARGEST_RECORD = 64 << 20  # bytes; a larger object is no record of ours

_PARALLEL = 32
Part = tuple[int, list[memoryview]]  # offset in an object, writable buffers for the bytes there
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Objects(ABC):
    """The objects below a root, addressed by keys such as ``commits/00000000/zarr.json``.

    Every method raises StoreError, naming the root, where access is refused or the other side
    cannot be reached.
    """

    name: str  # of the root, for people

    @property
    def folder(self) -> Path | None:
        """The root as a folder of this machine, or None."""
        return None

    @property
    def listable(self) -> bool:
        """Whether the other side can list its objects; a plain web server cannot."""
        return True

    @abstractmethod
    def get(self, key: str, largest: int | None = None) -> bytes:
        """The bytes of one object; raises FileNotFoundError where it is absent.

        Raises StoreError where there are more bytes than ``largest``; a record has a limit anyway.
        """

    def find(self, key: str, largest: int | None = None) -> bytes | None:
        """The bytes of one object, or None where it is absent."""
        try:
            return self.get(key, largest)
        except FileNotFoundError:
            return None

    @abstractmethod
    def find_size(self, key: str) -> int | None:
        """Bytes of one object, or None where it is absent."""

    @abstractmethod
    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        """Fill writable byte buffers, in order, from an object of exactly their joint size.

        Raises FileNotFoundError where it is absent, ValueError where it has another size.
        """

    @abstractmethod
    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        """Fill each part's buffers, in order, with the bytes of an object from its offset on.

        Raises FileNotFoundError where it is absent, ValueError where it ends before a part does.
        """

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet, atomically; False where it exists already.

        Where it exists with these very bytes, an answer may have been lost on the way: that is
        True.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object atomically; replaces an object of the same key."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; absent objects are skipped."""

    @abstractmethod
    def list_objects(self, prefix: str) -> dict[str, int]:
        """Key and bytes of every object below a prefix."""

    @abstractmethod
    def list_children(self, prefix: str) -> tuple[list[str], list[str]]:
        """The prefixes and the keys directly below a prefix."""

    def find_link(self, key: str) -> str:  # noqa: ARG002
        """The symbolic link that a key leads through, empty where none; only folders have links."""
        return ""

    def remove_empty_folders(self, prefix: str) -> None:  # noqa: B027
        """Remove the empty folders below a prefix; only disks have folders."""

    def find_leftovers(self) -> list[str]:
        """Temporary files of writers that were killed; only disks have them."""
        return []

    def check_size(self, key: str, size: int, largest: int | None) -> None:
        """Raise StoreError where an object is larger than it may be."""
        if largest is None and key.endswith("zarr.json"):
            largest = LARGEST_RECORD
        if largest is not None and size > largest:
            raise StoreError(f"{self.name}/{key} has {size} bytes: it is damaged")


class ReadOnlyObjects(Objects):
    """Objects that are read one by one, never listed or written."""

    @property
    def listable(self) -> bool:
        return False

    def create(self, key: str, data: bytes) -> bool:  # noqa: ARG002
        raise StoreError(f"{self.name} is read-only: write to the folder or bucket behind it")

    def put(self, key: str, data: bytes) -> None:
        self.create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        self.create(next(iter(keys), ""), b"")

    def list_objects(self, prefix: str) -> dict[str, int]:  # noqa: ARG002
        raise StoreError(f"{self.name} cannot be listed: use the folder or bucket behind it")

    def list_children(self, prefix: str) -> tuple[list[str], list[str]]:
        self.list_objects(prefix)
        return [], []


def run_in_parallel(
    function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Results in order, computed by many threads: for requests that mostly wait."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        yield from pool.map(function, items)


def fill_buffers(data: memoryview, buffers: list[memoryview]) -> None:
    """Fill buffers, in order, from their joint bytes."""
    place = 0
    for buffer in buffers:
        buffer[:] = data[place : place + len(buffer)]
        place += len(buffer)
