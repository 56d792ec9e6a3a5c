"""Find and remove the objects of a store that no record names.

Never removed: a committed object, an object under a live claim, and anything outside of the places
where samcache writes. Each removal happens under the claim that a writer of the same object would
need, so that no writer can begin meanwhile.
"""

import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from samcache.cache.claims import Claims, find_newest_claim, make_claim_key
from samcache.cache.commit import remove_unmatched_commit
from samcache.cache.create import TABLE, make_metadata
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key, make_shard_name, make_spare_key
from samcache.cache.format.description import CLAIMS, ROOT
from samcache.cache.format.layout import EXTENTS, IMAGES, STATISTICS
from samcache.cache.format.samples import (
    NEWEST,
    SAMPLES,
    make_generation_key,
    parse_generation,
    read_newest_generation,
)
from samcache.cache.objects.base import LARGEST_RECORD
from samcache.cache.store import Store

_ARRAYS = ("features", IMAGES, EXTENTS, STATISTICS)
_COMMITS = "commits"
_OURS = (*_ARRAYS, SAMPLES, _COMMITS, CLAIMS)

_CHUNK = re.compile(r"[^/]+(?:/.+)?/c/(\d{1,15})(?:/.*)?")  # of any array
_COMMIT = re.compile(r"commits/(\d{8,15})/(?:spare/)?zarr\.json")
_TABLE = re.compile(r"samples/(\d{8,15})/.+")
_CLAIM = re.compile(r"claims/([^/]+)\.(\d{4,15})/zarr\.json")
_TEMPORARY = re.compile(r"(.+)#\d+")

_SETTLED = 3600.0  # seconds: a temporary file that was written to since may still be in use

_NO_COMMIT = "its shard has no commit record"
_UNNAMED = "no record of the store names it"
_OLD_TABLE = "its sample table was superseded"
_OPEN_TABLE = "its sample table was never finished"
_DEAD = "the claim's holder is dead"
_KILLED = "its writer was killed"
_FOREIGN = "unknown: not samcache's, left alone"


@dataclass(frozen=True)
class Garbage:
    """One object that no record names; an ``unknown`` object is never removed."""

    key: str
    bytes: int
    why: str

    @property
    def unknown(self) -> bool:
        """Whether samcache does not write such objects."""
        return self.why == _FOREIGN


def find_garbage(store: Store) -> list[Garbage]:
    """Every object that no record of the store explains now; changes nothing.

    Superseded sample tables are garbage while the hint to the newest table is valid. Raises
    StoreError where the store cannot be listed or its root record or newest table is damaged.
    """
    store = Store(store.location, store.objects)
    sizes = store.objects.list_objects("")
    explained = _list_explained(store, sizes)
    found = [
        Garbage(key, size, why)
        for key, size in sizes.items()
        if key not in explained and (why := _explain(store, key))
    ]
    live = {name for name in {_name_claim(one.key) for one in found} if _is_live(store, name)}
    found = [one for one in found if one.unknown or _name_claim(one.key) not in live]
    return sorted([*found, *_find_temporary(store)], key=_order)


def collect(store: Store, garbage: list[Garbage]) -> list[Garbage]:
    """Remove objects that still are garbage; returns the removed ones.

    Objects that were committed or claimed meanwhile are skipped.
    """
    store = Store(store.location, store.objects)
    still = {one.key for one in find_garbage(store) if not one.unknown}
    by_claim: dict[str, list[Garbage]] = {}
    for one in sorted(garbage, key=_order):
        if one.key in still:
            by_claim.setdefault(_name_claim(one.key), []).append(one)
    removed = []
    with Claims(store.objects) as claims:
        for name, group in by_claim.items():
            claim = claims.take(name) if name else nullcontext()
            if claim is not None:
                with claim:
                    removed += [one for one in group if _remove(store, one.key)]
    for top in _OURS:
        store.objects.remove_empty_folders(top)
    return removed


def _remove(store: Store, key: str) -> bool:
    """Remove an object, unless a record explains it; under its claim.

    A process that slept here may find that a writer has used the object. It then restores the
    object or, where the writer had replaced the object, makes the writer's shard pending.
    """
    if _is_explained_now(store, key):
        return False
    data = store.objects.find(key)
    store.objects.delete([key])
    if data is not None and _is_explained_now(store, key):
        store.objects.create(key, data)
        shard = _parse_shard(key)
        if shard is not None:
            remove_unmatched_commit(Store(store.location, store.objects), shard)
        return False
    return True


def _order(one: Garbage) -> tuple[bool, str, bool, str]:
    """Unknown objects last; of old tables the records first, oldest first.

    So no record of a table outlives its columns, and a reader that counts up from table 0, as it
    does where the hint is damaged, never ends at an old table.
    """
    is_record = one.key.startswith(f"{SAMPLES}/") and one.key.count("/") == 2
    return one.unknown, one.why, not is_record, one.key


def _list_explained(store: Store, sizes: dict[str, int]) -> set[str]:
    """Every key that a record names, or that every store has."""
    keys = {ROOT, *make_metadata(store)}
    keys |= {make_generation_key(store.generation.number), *store.generation.objects}
    for key in sizes:
        shard = _parse_committed_shard(key)
        if shard is not None:  # also of a damaged record: repair may need its objects
            keys |= {key, *(spec.make_key(shard) for spec in store.arrays.values())}
    return keys


def _explain(store: Store, key: str) -> str:
    """The reason why an unexplained object is garbage; empty where it is none."""
    top, _, rest = key.partition("/")
    if top not in _OURS or not rest or store.objects.find_link(key):
        return _FOREIGN
    if table := _TABLE.fullmatch(key):
        number, newest = int(table[1]), store.generation.number
        if number < newest:
            return _OLD_TABLE if _is_hint_valid(store) else ""
        return _OPEN_TABLE if number > newest else _UNNAMED
    if _parse_claim(key):
        return _DEAD  # live claims are removed from the list later
    return _NO_COMMIT if _is_chunk(store, key) else _UNNAMED


def _name_claim(key: str) -> str:
    """The claim that a writer of an object needs; empty where it needs none."""
    shard = _parse_shard(key)
    if shard is not None:
        return make_shard_name(shard)
    if key.startswith(f"{SAMPLES}/"):
        return TABLE
    return _parse_claim(key)


def _parse_claim(key: str) -> str:
    """The piece of work in a claim's key, empty for other keys."""
    match = _CLAIM.fullmatch(key)
    return match[1] if match and make_claim_key(match[1], int(match[2])) == key else ""


def _parse_shard(key: str) -> int | None:
    """The shard that an object of an array belongs to, whether or not the store has the array."""
    match = _CHUNK.fullmatch(key) if key.partition("/")[0] in _ARRAYS else None
    return int(match[1]) if match else None


def _is_chunk(store: Store, key: str) -> bool:
    """Whether an object is what a shard's commit record would name."""
    shard = _parse_shard(key)
    return shard is not None and any(key == spec.make_key(shard) for spec in store.arrays.values())


def _parse_committed_shard(key: str) -> int | None:
    """The shard of a commit record or of the spare of one, which may be all that is left."""
    match = _COMMIT.fullmatch(key)
    shard = int(match[1]) if match else 0
    return shard if key in (make_commit_key(shard), make_spare_key(shard)) else None


def _is_live(store: Store, name: str) -> bool:
    claim = find_newest_claim(store.objects, name) if name else None
    return claim is not None and claim.is_live()


def _is_explained_now(store: Store, key: str) -> bool:
    """Whether a record that explains an object was written since; under its claim."""
    shard = _parse_shard(key)
    if shard is not None and _is_chunk(store, key):
        return store.objects.find_size(make_commit_key(shard)) is not None
    if key.startswith(f"{SAMPLES}/"):
        newest = read_newest_generation(store.objects)
        return key in {make_generation_key(newest.number), *newest.objects}
    return False


def _is_hint_valid(store: Store) -> bool:
    """Whether the newest table is found without those before it."""
    hint = store.objects.find(NEWEST, LARGEST_RECORD)
    try:
        return hint is not None and parse_generation(hint) == store.generation
    except StoreError:
        return False


def _find_temporary(store: Store) -> Iterator[Garbage]:
    """Temporary files of killed writers that nothing has touched for an hour."""
    for key in store.objects.find_leftovers():
        match, folder = _TEMPORARY.fullmatch(key), store.objects.folder
        if not match or folder is None or store.objects.find_link(key):
            continue
        if match[1] != ROOT and key.partition("/")[0] not in _OURS:
            continue
        try:
            status = (folder / key).stat()
        except FileNotFoundError:
            continue
        if time.time() - status.st_mtime > _SETTLED:
            yield Garbage(key, status.st_size, _KILLED)
