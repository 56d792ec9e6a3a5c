"""List the stores below a folder or a bucket's prefix."""

import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from samcache.cache.care.transfer.shards import count_committed_bytes
from samcache.cache.errors import (
    AccessError,
    FormatError,
    StoreError,
    UnfinishedError,
    UnreachableError,
    describe_os_error,
)
from samcache.cache.format.description import ROOT, SPARE
from samcache.cache.objects.base import LARGEST_RECORD, Objects, run_in_parallel
from samcache.cache.objects.location import is_remote, open_objects
from samcache.cache.objects.place_kind import names_samcache
from samcache.cache.store import Store

UNFINISHED = "unfinished"  # its creation was interrupted, or goes on: no damage
NO_ACCESS = "no access"
_STATES = (  # of stores without a row of their own; all other errors are damage
    (UnfinishedError, UNFINISHED),
    (AccessError, NO_ACCESS),
    (UnreachableError, "unreachable"),
    (FormatError, "other format"),
)
_OURS = {"commits", "samples"}  # in a store also where its root record is lost


@dataclass(frozen=True)
class StoreRow:
    """One store; ``problem`` is the reason why it cannot be read; unknown fields are empty."""

    location: str
    dataset: str = ""
    encoder: str = ""
    image_size: int = 0  # side of the encoder's input, pixels
    levels: tuple[str, ...] = ()
    samples: int = 0
    bytes: int = 0  # of the committed shards' objects, were every image readable
    missing: int = 0  # shards that hold a sample and are not committed
    fingerprint: str = ""
    last_commit: int | None = None  # seconds since 1970, of the last shard
    state: str = "complete"  # or "incomplete", or one of _STATES
    problem: str = ""

    @property
    def broken(self) -> bool:
        """Whether the store cannot be read."""
        return bool(self.problem) and self.state != UNFINISHED

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self)


def list_stores(root: str | Path) -> list[StoreRow]:
    """Every store at or below a folder, or a prefix of a bucket, in the order of location.

    Skips hidden folders and the inside of stores and other Zarr hierarchies; enters a folder with
    several links once. Reads the small records of a store and lists its commits. A store or folder
    that cannot be read has a row with the reason. Raises StoreError where the folder does not exist
    or the place cannot be listed.
    """
    if is_remote(root):
        objects = open_objects(root)
        if not objects.listable:
            raise StoreError(
                f"{objects.name} is a web server and cannot be listed: give the folder or bucket "
                "behind it, or one store's address to samcache cache info"
            )
        found = _find_below_prefix(objects, "")
    else:
        if not Path(root).is_dir():
            raise StoreError(f"{root} is not a folder: give a folder that holds stores")
        found = _find_below_folder(Path(root), set())
    return list(run_in_parallel(_describe_found, sorted(found)))


def _describe_found(found: tuple[str, str]) -> StoreRow:
    location, problem = found
    return (
        StoreRow(location, state=NO_ACCESS, problem=problem)
        if problem
        else describe_store(location)
    )


def describe_store(location: str) -> StoreRow:
    """The row of one store; of a damaged store its location and the reason."""
    try:
        store = Store(location)
        shards = store.list_committed()
        last = store.read_commit(shards[-1]).written if shards else None
        missing = len(_list_used_shards(store) - set(shards))
        return StoreRow(
            location=location,
            dataset=store.dataset.name,
            encoder=store.identity.encoder,
            image_size=store.identity.image_size,
            levels=store.identity.levels,
            samples=store.generation.count,
            bytes=count_committed_bytes(store, shards),
            missing=missing,
            fingerprint=store.fingerprint,
            last_commit=last,
            state="incomplete" if missing else "complete",
        )
    except OSError as error:
        return StoreRow(location, state=NO_ACCESS, problem=describe_os_error(error))
    except StoreError as error:
        state = next((name for kind, name in _STATES if isinstance(error, kind)), "damaged")
        return StoreRow(location, state=state, problem=str(error))


_Found = tuple[str, str]  # the location of a store, or of a folder and why it cannot be read


def _find_below_folder(folder: Path, seen: set[str]) -> Iterator[_Found]:
    """Stores at or below a folder; links are followed, each folder is entered once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = {entry.name: entry for entry in os.scandir(folder)}
        ours = ROOT in entries or set(entries) >= _OURS
        folders = [name for name, entry in sorted(entries.items()) if _is_entered(entry)]
    except FileNotFoundError:
        return  # it was removed meanwhile
    except OSError as error:
        yield str(folder), describe_os_error(error)
        return
    if ours:
        if _is_ours(open_objects(folder), set(entries)):
            yield str(folder), ""
        return
    for name in folders:
        yield from _find_below_folder(folder / name, seen)


def _is_entered(entry: os.DirEntry[str]) -> bool:
    """Whether a name is that of a folder that may hold stores, or that cannot be looked at."""
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError as error:  # a link whose target this user may not see, or that leads to itself
        return error.errno != errno.ELOOP


def _find_below_prefix(objects: Objects, prefix: str) -> Iterator[_Found]:
    """Stores at or below a prefix of a bucket."""
    prefixes, keys = objects.list_children(prefix)
    names = {path.rstrip("/").rpartition("/")[2] for path in (*prefixes, *keys)}
    location = f"{objects.name}/{prefix}".rstrip("/")
    if ROOT in names or names >= _OURS:
        if _is_ours(open_objects(location), names):
            yield location, ""
        return
    for path in sorted(prefixes):
        if not path.rstrip("/").rpartition("/")[2].startswith("."):
            yield from _find_below_prefix(objects, path.rstrip("/"))


def _is_ours(objects: Objects, names: set[str]) -> bool:
    """Whether a Zarr hierarchy is a samcache store, sound or damaged, or was to become one."""
    if names >= _OURS:
        return True
    try:
        return any(_names_samcache(objects.find(key, LARGEST_RECORD)) for key in (ROOT, SPARE))
    except (StoreError, OSError):
        return True  # its row will have the reason


def _names_samcache(data: bytes | None) -> bool:
    try:
        return names_samcache(data or b"")
    except ValueError:
        return False


def _list_used_shards(store: Store) -> set[int]:
    """Shards that hold a sample."""
    size = store.rows_per_shard
    runs = store.generation.runs
    return {n for start, stop in runs for n in range(start // size, (stop - 1) // size + 1)}
