"""Whole objects below one root, on disk or in a bucket: read, create once, list, delete."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from samcache.cache.errors import StoreError
from samcache.cache.objects.answers import PassingError, explain

if TYPE_CHECKING:
    from obstore import GetResult

LARGEST_RECORD = 64 << 20  # bytes; a record larger than this is no record of ours
RETRIES = 10

_PARALLEL = 32
_LARGE = 1 << 20  # bytes; what may take longer to send than a stalled connection is waited for
_PAUSE, _LONGEST_PAUSE = 0.2, 15.0  # seconds before the second attempt; doubled before others
_PATIENCE = 180.0  # seconds after which nothing is sent again
_FIRST_PATIENCE = 15.0  # the same until the first answer: the name may simply be wrong
Part = tuple[int, list[memoryview]]  # offset in an object, writable buffers for what is there
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Objects:
    """The objects below a root, addressed by keys such as ``commits/00000000/zarr.json``.

    Every method repeats what fails for the moment, and raises StoreError, naming the root, where
    access is refused or the other side cannot be reached after all; ``get`` raises
    FileNotFoundError for an absent object.
    """

    retries = RETRIES
    _answered = False
    _exclusive = False  # whether the other side is known to create an object only once

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        uploads: ObjectStore | None = None,
        retries: int = RETRIES,
        first: ObjectStore | None = None,
    ) -> None:
        """uploads: the same store with time for large objects; retries: of any one request.

        first: the same store with less patience, until the other side has answered.
        """
        self._store = store
        self._first = first or store
        self.name = name
        self.retries = retries
        self.uploads = uploads or store

    @property
    def store(self) -> ObjectStore:
        """Where the next request goes."""
        return self._store if self._answered else self._first

    @property
    def folder(self) -> Path | None:
        """The root as a folder of this machine, or None."""
        return None

    @property
    def listable(self) -> bool:
        """Whether the other side can say what it holds; a plain web server cannot."""
        return True

    def get(self, key: str, largest: int | None = None) -> bytes:
        """The bytes of one object; raises StoreError where there are more than ``largest``."""

        def request() -> bytes:
            found = obstore.get(self.store, key)
            self._check_size(key, found.meta["size"], largest)
            return bytes(self._whole(key, found))

        return self._repeat(key, request)

    def find(self, key: str, largest: int | None = None) -> bytes | None:
        """The bytes of one object, or None where it is absent."""
        try:
            return self.get(key, largest)
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int | None:
        """Bytes of one object, or None where it is absent."""
        try:
            return self._repeat(key, lambda: int(obstore.head(self.store, key)["size"]))
        except FileNotFoundError:
            return None

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        """Fill writable byte buffers, in order, from an object of exactly their joint size.

        Raises ValueError where the object has another size.
        """
        wanted = sum(map(len, buffers))

        def request() -> memoryview:
            found = obstore.get(self.store, key)
            if found.meta["size"] != wanted:
                raise ValueError(f"it has {found.meta['size']} bytes")
            return self._whole(key, found)

        _spread(self._repeat(key, request), buffers)

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        """Fill each part's buffers, in order, with what stands in an object from its offset on.

        Raises ValueError where the object ends before a part does.
        """
        starts = [offset for offset, _ in parts]
        lengths = [sum(map(len, buffers)) for _, buffers in parts]

        def request() -> list[memoryview]:
            found = obstore.get_ranges(self.store, key, starts=starts, lengths=lengths)
            return [memoryview(data) for data in found]

        for data, length, (_, buffers) in zip(
            self._repeat(key, request), lengths, parts, strict=True
        ):
            if len(data) != length:
                raise ValueError(f"ends {length - len(data)} bytes too early")
            _spread(data, buffers)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet, atomically; False where it exists already.

        Where it exists with these very bytes, an answer may have been lost on the way: that is
        True.
        """
        return self._repeat(key, lambda: self._create(key, data), absent=False)

    def _create(self, key: str, data: bytes) -> bool:
        """One attempt at ``create``."""
        try:
            self._send(key, data)
        except exceptions.AlreadyExistsError:
            self._exclusive = True
            size = self.size(key)
            if size is None:
                # Another's request for the same key is under way (409 of AWS), or its object
                # has just been deleted: neither is an answer.
                raise PassingError(f"{self.name}/{key} is there and is not") from None
            return size == len(data) and self.find(key) == data
        if not self._exclusive:
            self._prove(key, data)
        return True

    def _prove(self, key: str, data: bytes) -> None:
        """Create a first object a second time: servers exist that overwrite it without a word."""
        try:
            self._send(key, data)
        except exceptions.AlreadyExistsError:
            self._exclusive = True
            return
        raise StoreError(
            f"{self.name}: the server ignores If-None-Match, so that writers could overwrite each "
            "other: write to a folder, or to a bucket whose server has conditional writes"
        )

    def _send(self, key: str, data: bytes) -> None:
        store = self.uploads if len(data) > _LARGE else self.store
        obstore.put(store, key, data, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of another of this key if there is one, atomically."""
        store = self.uploads if len(data) > _LARGE else self.store
        self._repeat(key, lambda: obstore.put(store, key, data, use_multipart=False), absent=False)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that do not exist are passed over."""
        for _ in in_parallel(self._delete, keys):
            pass

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._repeat(key, lambda: obstore.delete(self.store, key))

    def listing(self, prefix: str) -> dict[str, int]:
        """Key and bytes of every object below a prefix; raises StoreError where none can be had."""
        self._check_listable()

        def request() -> dict[str, int]:
            batches = obstore.list(self.store, prefix or None)
            return {entry["path"]: entry["size"] for batch in batches for entry in batch}

        return self._repeat(prefix, request, absent=False)

    def children(self, prefix: str) -> tuple[list[str], list[str]]:
        """The prefixes and the keys that stand directly below a prefix."""
        self._check_listable()

        def request() -> tuple[list[str], list[str]]:
            found = obstore.list_with_delimiter(self.store, prefix or None)
            return list(found["common_prefixes"]), [entry["path"] for entry in found["objects"]]

        return self._repeat(prefix, request, absent=False)

    def link_on(self, key: str) -> str:  # noqa: ARG002
        """The symbolic link that a key leads through, empty where none; buckets have no links."""
        return ""

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders below a prefix; buckets have no folders."""

    def leftovers(self) -> list[str]:
        """Temporary files of writers that were killed; object stores have none."""
        return []

    def _check_listable(self) -> None:
        if not self.listable:
            raise StoreError(f"{self.name} cannot be listed: use the folder or bucket behind it")

    def _whole(self, key: str, found: "GetResult") -> memoryview:
        """All bytes of an answer."""
        data = memoryview(found.bytes())
        if len(data) != found.meta["size"]:
            raise PassingError(
                f"{self.name}/{key}: {len(data)} bytes arrived of {found.meta['size']}"
            )
        return data

    def _check_size(self, key: str, size: int, largest: int | None) -> None:
        if largest is None and key.endswith("zarr.json"):
            largest = LARGEST_RECORD
        if largest is not None and size > largest:
            raise StoreError(f"{self.name}/{key} has {size} bytes: it is damaged")

    def _repeat(self, key: str, request: Callable[[], _Result], absent: bool = True) -> _Result:
        """Make a request until it is answered, retries or patience end; ``absent`` as _errors.

        object_store repeats some requests by itself, but neither a conditional write nor a read
        whose connection breaks again, nor a list that breaks midway.
        """
        begun = time.monotonic()
        for attempt in range(self.retries + 1):
            try:
                with self._errors(key, absent):
                    result = request()
            except PassingError:
                pause = min(_LONGEST_PAUSE, _PAUSE * 2**attempt) * random.uniform(0.5, 1.5)
                spent = time.monotonic() - begun + pause
                if attempt == self.retries or spent > self._patience(attempt):
                    raise
                time.sleep(pause)
            except (FileNotFoundError, ValueError):
                self._answered = True
                raise
            else:
                self._answered = True
                return result
        raise AssertionError("unreachable")

    def _patience(self, attempt: int) -> float:
        """Seconds after which a request is not made again; one that stalled is made once more."""
        if attempt == 0:
            return math.inf
        return _PATIENCE if self._answered else _FIRST_PATIENCE

    @contextmanager
    def _errors(self, key: str, absent: bool = True) -> Iterator[None]:
        """Turn what obstore raises into one line for a user, but for an absent object's error.

        absent: whether the request is one that an absent object can answer; for others, what is
        absent is the bucket.
        """
        try:
            yield
        except exceptions.AlreadyExistsError:
            raise
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            if absent:
                raise
            raise explain(self.name, key, error) from error
        except exceptions.BaseError as error:
            raise explain(self.name, key, error) from error


class WebObjects(Objects):
    """Objects behind a plain web server: read one by one, never listed or written."""

    @property
    def listable(self) -> bool:
        return False

    def create(self, key: str, data: bytes) -> bool:  # noqa: ARG002
        raise StoreError(f"{self.name} is read-only: write to the folder or bucket behind it")

    def put(self, key: str, data: bytes) -> None:
        self.create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        self.create(next(iter(keys), ""), b"")


def in_parallel(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Results in order, computed by many threads: for requests that mostly wait."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        yield from pool.map(function, items)


def _spread(data: memoryview, buffers: list[memoryview]) -> None:
    """Fill buffers, in order, from their joint bytes."""
    place = 0
    for buffer in buffers:
        buffer[:] = data[place : place + len(buffer)]
        place += len(buffer)
