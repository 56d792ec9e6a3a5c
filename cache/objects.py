"""Whole objects under a store's root: read, create once, list, delete, flush to disk."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from samcache.cache.commits import ObjectRecord
from samcache.cache.errors import StoreError


@contextmanager
def exclusive_writer(root: Path) -> Iterator[None]:
    """Hold a store's folder, made where needed, for one writing process.

    The lock ends with the process, however it ends. Raises StoreError where another holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreError(
            f"another samcache extract is writing to {root}: wait for it, or stop it first"
        ) from None
    finally:
        os.close(folder)


class ObjectFolder:
    """The objects below one folder, addressed by keys such as ``commits/00000000/zarr.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._store = LocalStore(root, mkdir=False)

    def get(self, key: str) -> bytes:
        """The bytes of one object; raises FileNotFoundError."""
        return bytes(obstore.get(self._store, key).bytes())

    def create(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet, atomically; False where it exists already."""
        try:
            obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError:
            return False
        self._flush(key)
        return True

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key and size in bytes of every object below ``prefix``."""
        batches = obstore.list(self._store, prefix)
        return {entry["path"]: entry["size"] for batch in batches for entry in batch}

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that do not exist are passed over."""
        for key in keys:
            (self.root / key).unlink(missing_ok=True)

    def seal(self, keys: list[str]) -> dict[str, ObjectRecord]:
        """Flush objects to disk and record them as they now stand; absent ones are left out.

        An array chunk of zeros alone is never written, so an absent object can be rightly absent.
        """
        present = [key for key in keys if (self.root / key).exists()]
        for key in present:
            self._flush(key)
        return {key: _record(self.get(key)) for key in present}

    def _flush(self, key: str) -> None:
        """Force an object and its folder entry to disk, so that a power cut cannot undo them."""
        path = self.root / key
        for target in (path, path.parent):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _record(data: bytes) -> ObjectRecord:
    return ObjectRecord(len(data), hashlib.sha256(data).hexdigest())
