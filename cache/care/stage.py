"""Copy a remote store to the local disk, once, for trainings; keep all copies below a limit."""

import fcntl
import hashlib
import os
import re
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from samcache.cache.care.copy import copy_shards
from samcache.cache.care.transfer.shards import (
    Transfer,
    count_committed_bytes,
    find_complete_shards,
)
from samcache.cache.care.transfer.table import copy_table
from samcache.cache.commit import Writer
from samcache.cache.errors import StoreError
from samcache.cache.files.regular_file import check_regular, read_regular
from samcache.cache.format.commit_record import make_commit_key
from samcache.cache.format.description import ROOT
from samcache.cache.objects.base import Objects, run_in_parallel
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.cache.store import Store
from samcache.cache.text import count_are, describe_bytes

FOLDER = "SAMCACHE_STAGE"
LIMIT = "SAMCACHE_STAGE_LIMIT"

_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{12}")  # nothing else in the folder is ever touched
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kKMGTP])(i?))?B?")
_POWERS = "KMGTP"
_LONGEST_SIZE = 18  # digits of a number of bytes


def stage_store(
    store: Store, on_remark: OnRemark = ignore_remark, on_progress: OnProgress = ignore_progress
) -> Store:
    """The store itself where it is local, else its copy on the local disk, brought up to date.

    The copy is kept in ``$SAMCACHE_STAGE`` or ``~/.cache/samcache/stage`` for later runs. Where all
    copies would exceed ``$SAMCACHE_STAGE_LIMIT`` (such as ``200GB``; by default half of the copies
    and the free disk together), the least recently used copies are removed. No copy is removed
    while the returned Store exists in any process. A second process that needs the same store waits
    for the first. Raises StoreError where there is no room, where an object of the source is
    damaged, or where either side cannot be reached.
    """
    if not store.remote:
        return store
    folder = find_stage_folder(store)
    if folder.is_symlink():
        raise StoreError(
            f"{folder} is a symbolic link: remove it, or set {FOLDER} to another folder"
        )
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        use = _open_lock(_find_use_lock(folder))
        fcntl.flock(use, fcntl.LOCK_SH)
        os.utime(use.name)
        try:
            _update_stage(store, folder, on_remark, on_progress)
            local = Store(folder)
        except BaseException:
            use.close()
            raise
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder.parent}: {error.strerror}: set {FOLDER} to another folder"
        ) from error
    weakref.finalize(local, use.close)
    return local


def find_stage_folder(store: Store) -> Path:
    """The folder of a store's copy, named by its fingerprint and a hash of URL and root record."""
    url = store.objects.name.encode()
    digest = hashlib.sha256(url + b"\n" + store.description.to_bytes()).hexdigest()
    return find_stage_root() / f"{store.fingerprint[:16]}-{digest[:12]}"


def find_stage_root() -> Path:
    """The folder of all copies: SAMCACHE_STAGE, or one in the user's cache folder."""
    chosen = os.environ.get(FOLDER)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else cache / "samcache" / "stage"


@dataclass(frozen=True)
class _State:
    """The part of a store that its stage has."""

    whole: set[int]  # shards that are here
    lacking: list[int]  # committed shards that are not
    table: bool  # whether the sample table is the store's newest

    @property
    def current(self) -> bool:
        return self.table and not self.lacking


def _update_stage(store: Store, folder: Path, on_remark: OnRemark, on_progress: OnProgress) -> None:
    """Copy what the stage lacks; one process at a time, while the others wait."""
    objects = open_objects(folder)
    if _compare_stage(store, objects).current:
        on_remark(Remark(f"using the staged copy of {store.location}"))
        return
    with _hold_lock(folder.with_name(f"{folder.name}.copying"), on_remark):
        state = _compare_stage(store, objects)
        if state.current:
            on_remark(Remark(f"using the staged copy of {store.location}"))
            return
        _make_room(folder, count_committed_bytes(store, [*state.whole, *state.lacking]), on_remark)
        _copy(store, objects, state.lacking, on_remark, on_progress)


def _copy(
    store: Store,
    objects: Objects,
    shards: list[int],
    on_remark: OnRemark,
    on_progress: OnProgress,
) -> None:
    """Copy table and shards; raises StoreError where any of it is damaged at the source."""
    size = count_committed_bytes(store, shards)
    amount = f"{store.location} ({describe_bytes(size)})"
    on_remark(Remark(f"staging {amount} in {objects.name} for later runs"))
    copy_table(store, objects)
    objects.delete(map(make_commit_key, shards))  # a record without its objects, or a damaged one
    with Writer(objects.name, objects) as writer:
        transfer = Transfer(store, writer)
        outcomes = copy_shards(transfer, shards, size, partial(on_progress, "staging"))
    damaged = {key: why for outcome in outcomes for key, why in outcome.damaged.items()}
    if damaged:
        key, why = next(iter(damaged.items()))
        raise StoreError(
            f"{store.location}: {count_are(len(damaged), 'object')} damaged ({key} {why}): "
            "samcache cache verify lists what is lost, samcache cache repair restores it"
        )


def _compare_stage(store: Store, objects: Objects) -> _State:
    """Compare a stage with its store.

    Requests only the table and a listing of the commits from a bucket; from a web server, which has
    no listing, the commit records of the shards that are not here.
    """
    whole, table = set(), False
    if objects.find(ROOT) is not None:
        local = Store(objects.name, objects)
        whole = find_complete_shards(local)
        table = local.generation == store.generation
    if store.objects.listable:
        lacking = [shard for shard in store.list_committed() if shard not in whole]
    else:
        absent = [shard for shard in range(store.layout.shards) if shard not in whole]
        found = run_in_parallel(store.find_commit, absent)
        lacking = [commit.shard for commit in found if commit is not None]
    return _State(whole, lacking, table)


def _make_room(folder: Path, need: int, on_remark: OnRemark) -> None:
    """Reserve bytes for a stage, evicting others; raises StoreError where they cannot be had."""
    with _hold_lock(folder.parent / "stages.lock", on_remark):
        others = [path for path in _list_stages(folder.parent) if path != folder]
        sizes = {path: max(_count_bytes(path), _read_reserved(path)) for path in others}
        limit = _read_limit(folder.parent)
        if need > limit:
            raise StoreError(
                f"the store has {describe_bytes(need)}, stages may take {describe_bytes(limit)}: "
                f"raise {LIMIT} (such as 200GB), or set {FOLDER} to a larger disk"
            )
        for path in sorted(others, key=_read_last_use):
            if need + sum(sizes.values()) > limit and _evict(path):
                removed = f"{path} ({describe_bytes(sizes.pop(path))})"
                on_remark(Remark(f"removed the staged copy {removed}"))
        if need + sum(sizes.values()) > limit:
            raise StoreError(
                f"the store has {describe_bytes(need)}, stages in use have "
                f"{describe_bytes(sum(sizes.values()))} of the {describe_bytes(limit)} that stages "
                f"may take: raise {LIMIT} (such as 200GB), or wait for the other runs"
            )
        with _open_lock(_find_use_lock(folder)) as lock:
            lock.write(str(need).encode())
            lock.truncate()
        folder.mkdir(exist_ok=True)  # what is reserved without a folder does not count


def _evict(folder: Path) -> bool:
    """Remove a stage, unless a process uses it."""
    with _open_lock(_find_use_lock(folder)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
        lock.truncate(0)
    return True


def _read_limit(root: Path) -> int:
    """Bytes that all stages together may take."""
    text = os.environ.get(LIMIT)
    if not text:
        return (shutil.disk_usage(root).free + sum(map(_count_bytes, _list_stages(root)))) // 2
    return parse_size(text)


def parse_size(text: str) -> int:
    """Bytes in ``1000000``, ``200GB``, ``1.5TB`` or ``64GiB``; raises StoreError for all else."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise StoreError(f"{LIMIT} is {text!r}: give a size such as 200GB or 1.5TB")
    number, prefix, binary = found.groups()
    power = _POWERS.index(prefix.upper()) + 1 if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def _list_stages(root: Path) -> list[Path]:
    named = (path for path in root.iterdir() if _NAME.fullmatch(path.name))
    return [path for path in named if path.is_dir() and not path.is_symlink()]


def _count_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; those that go meanwhile count for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).stat().st_size
    return total


def _find_use_lock(folder: Path) -> Path:
    """The file that each user of a stage holds shared; its time is that of the last use.

    The file is next to the stage, because Zarr would warn of it inside. It holds the bytes that the
    stage will have, and outlives the stage: a removed lock file could be locked twice.
    """
    return folder.with_name(f"{folder.name}.lock")


def _read_reserved(folder: Path) -> int:
    try:
        text = read_regular(_find_use_lock(folder), _LONGEST_SIZE)
    except (FileNotFoundError, ValueError):
        return 0
    return int(text) if text.isdigit() else 0


def _read_last_use(folder: Path) -> float:
    lock = _find_use_lock(folder)
    return lock.stat().st_mtime if lock.exists() else 0.0


def _open_lock(path: Path) -> IO[bytes]:
    """A lock file, made where it is missing; raises OSError where it is a link or no file."""
    check_regular(path)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")


@contextmanager
def _hold_lock(path: Path, on_remark: OnRemark) -> Iterator[None]:
    """Hold a lock alone; reports where that takes waiting."""
    with _open_lock(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_remark(Remark("another process is staging: waiting for it"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
