"""Objects in a bucket: every request is repeated until it is answered or patience ends."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from samcache.cache.errors import StoreError, UnreachableError
from samcache.cache.objects.base import Objects, Part, fill_buffers, run_in_parallel
from samcache.cache.objects.request_errors import explain

if TYPE_CHECKING:
    from obstore import GetResult

RETRIES = 10

_LARGE = 1 << 20  # bytes; sending more may take longer than a stalled connection is waited for
_PAUSE, _LONGEST_PAUSE = 0.2, 15.0  # seconds before the second attempt; doubled before others
_PATIENCE = 180.0  # seconds after which no request is repeated
_FIRST_PATIENCE = 15.0  # the same until the first answer: the name may simply be wrong
_Result = TypeVar("_Result")


class BucketObjects(Objects):
    """Objects behind a network, which fails at times."""

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
        self._retries = retries
        self._uploads = uploads or store

    @property
    def _current(self) -> ObjectStore:
        """Where the next request goes."""
        return self._store if self._answered else self._first

    def get(self, key: str, largest: int | None = None) -> bytes:
        def request() -> bytes:
            found = obstore.get(self._current, key)
            self.check_size(key, found.meta["size"], largest)
            return bytes(self._receive(key, found))

        return self._repeat(key, request)

    def find_size(self, key: str) -> int | None:
        try:
            return self._repeat(key, lambda: int(obstore.head(self._current, key)["size"]))
        except FileNotFoundError:
            return None

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        wanted = sum(map(len, buffers))

        def request() -> memoryview:
            found = obstore.get(self._current, key)
            if found.meta["size"] != wanted:
                raise ValueError(f"it has {found.meta['size']} bytes")
            return self._receive(key, found)

        fill_buffers(self._repeat(key, request), buffers)

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        starts = [offset for offset, _ in parts]
        lengths = [sum(map(len, buffers)) for _, buffers in parts]

        def request() -> list[memoryview]:
            found = obstore.get_ranges(self._current, key, starts=starts, lengths=lengths)
            return [memoryview(data) for data in found]

        for data, length, (_, buffers) in zip(
            self._repeat(key, request), lengths, parts, strict=True
        ):
            if len(data) != length:
                raise ValueError(f"ends {length - len(data)} bytes too early")
            fill_buffers(data, buffers)

    def create(self, key: str, data: bytes) -> bool:
        return self._repeat(key, lambda: self._create_once(key, data), absent=False)

    def _create_once(self, key: str, data: bytes) -> bool:
        """One attempt at ``create``."""
        try:
            self._send(key, data)
        except exceptions.AlreadyExistsError:
            self._exclusive = True
            size = self.find_size(key)
            if size is None:
                # Another's request for the same key is under way (409 of AWS), or its object
                # has just been deleted: neither is an answer.
                raise UnreachableError(
                    f"{self.name}/{key} is reported both as present and as absent"
                ) from None
            return size == len(data) and self.find(key) == data
        if not self._exclusive:
            self._check_exclusive(key, data)
        return True

    def _check_exclusive(self, key: str, data: bytes) -> None:
        """Create a first object a second time: some servers overwrite it without an error."""
        try:
            self._send(key, data)
        except exceptions.AlreadyExistsError:
            self._exclusive = True
            return
        raise StoreError(
            f"{self.name}: the server ignores If-None-Match, so writers could overwrite each "
            "other: write to a folder, or to a bucket whose server has conditional writes"
        )

    def _send(self, key: str, data: bytes) -> None:
        obstore.put(self._choose_store(data), key, data, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes) -> None:
        def request() -> object:
            return obstore.put(self._choose_store(data), key, data, use_multipart=False)

        self._repeat(key, request, absent=False)

    def _choose_store(self, data: bytes) -> ObjectStore:
        return self._uploads if len(data) > _LARGE else self._current

    def delete(self, keys: Iterable[str]) -> None:
        for _ in run_in_parallel(self._delete_one, keys):
            pass

    def _delete_one(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._repeat(key, lambda: obstore.delete(self._current, key))

    def list_objects(self, prefix: str) -> dict[str, int]:
        def request() -> dict[str, int]:
            batches = obstore.list(self._current, prefix or None)
            return {entry["path"]: entry["size"] for batch in batches for entry in batch}

        return self._repeat(prefix, request, absent=False)

    def list_children(self, prefix: str) -> tuple[list[str], list[str]]:
        def request() -> tuple[list[str], list[str]]:
            found = obstore.list_with_delimiter(self._current, prefix or None)
            return list(found["common_prefixes"]), [entry["path"] for entry in found["objects"]]

        return self._repeat(prefix, request, absent=False)

    def _receive(self, key: str, found: "GetResult") -> memoryview:
        """All bytes of an answer; raises UnreachableError where some are missing."""
        data = memoryview(found.bytes())
        if len(data) != found.meta["size"]:
            raise UnreachableError(
                f"{self.name}/{key}: {len(data)} bytes arrived of {found.meta['size']}"
            )
        return data

    def _repeat(self, key: str, request: Callable[[], _Result], absent: bool = True) -> _Result:
        """Make a request until it is answered, retries or patience end.

        absent: whether an absent object can be the answer; for other requests the bucket is absent.
        object_store repeats some requests by itself, but neither a conditional write nor a read
        whose connection breaks again, nor a list that breaks midway.
        """
        begun = time.monotonic()
        for attempt in range(self._retries + 1):
            try:
                with self._explain_errors(key, absent):
                    result = request()
            except UnreachableError:
                pause = min(_LONGEST_PAUSE, _PAUSE * 2**attempt) * random.uniform(0.5, 1.5)
                spent = time.monotonic() - begun + pause
                if attempt == self._retries or spent > self._choose_timeout(attempt):
                    raise
                time.sleep(pause)
            except (FileNotFoundError, ValueError):
                self._answered = True
                raise
            else:
                self._answered = True
                return result
        raise AssertionError("unreachable")

    def _choose_timeout(self, attempt: int) -> float:
        """Seconds after which a request is not repeated; a stalled request is repeated once."""
        if attempt == 0:
            return math.inf
        return _PATIENCE if self._answered else _FIRST_PATIENCE

    @contextmanager
    def _explain_errors(self, key: str, absent: bool) -> Iterator[None]:
        """Turn the errors of obstore into one line for a user, but for an absent object's error."""
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
