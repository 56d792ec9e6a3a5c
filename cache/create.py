"""Create a store, and add a generation of its sample table."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from samcache.cache.errors import OvertakenError, StoreError, UnfinishedError
from samcache.cache.format.description import (
    BEGUN,
    CLAIMS,
    ROOT,
    SPARE,
    Description,
    read_description,
)
from samcache.cache.format.layout import is_same_metadata, make_array_metadata
from samcache.cache.format.samples import (
    NEWEST,
    PLAIN_GROUP,
    SAMPLES,
    Generation,
    create_columns,
    make_generation_key,
    parse_generation,
    read_newest_generation,
)
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.store import Store

_log = logging.getLogger(__name__)
TABLE = "table"  # the claim under which a store's table and metadata are written

_TOP = {"features", "images", "extents", "statistics", SAMPLES, "commits", CLAIMS}


def store_exists(objects: Objects) -> bool:
    """Whether a store exists here; raises StoreError where something else does.

    The rest of an interrupted creation counts as nothing, and may be overwritten.
    """
    if objects.find_size(ROOT) is not None:
        return True
    if objects.folder is not None and objects.folder.is_file():
        raise StoreError(f"{objects.name} is a file: choose another path")
    prefixes, keys = objects.list_children("")
    begun = objects.list_children("commits")[0]
    if objects.find_size(ROOT) is not None:
        return True  # another process has just created it
    foreign = [*keys, *(prefix for prefix in prefixes if prefix.rstrip("/") not in _TOP)]
    if foreign:
        raise StoreError(
            f"{objects.name} exists, holds {foreign[0]}, and is not a samcache store: choose "
            "another path"
        )
    if begun:
        raise StoreError(
            f"{objects.name} holds what is left of another store, without its root record: run "
            "samcache cache repair there, or choose another path"
        )
    return False


def create_store(
    location: str | Path, objects: Objects, description: Description, samples: pd.DataFrame
) -> Store:
    """Create an empty store, or open the one that another process created meanwhile.

    Of any number of creators, however long they sleep, the one whose copy of the root record is
    created first decides what the store is. Every creator makes the rest from that copy and
    overwrites nothing. samples: columns id, label, split and group, and row
    where rows are not simply counted. Raises StoreError where the store cannot be completed.
    """
    objects.put(BEGUN, PLAIN_GROUP)
    if objects.find(SPARE, LARGEST_RECORD) is None:
        table = samples if "row" in samples else samples.assign(row=range(len(samples)))
        generation, columns = create_columns(objects, 0, table)
        if objects.create(SPARE, replace(description, table=generation).to_bytes()):
            _complete_columns(objects, columns)
            _log.info("created %s: %d images", objects.name, len(table))
    return _complete_creation(location, objects)


def _complete_creation(location: str | Path, objects: Objects) -> Store:
    """Create what follows from a root record's copy, the root record last.

    Raises UnfinishedError where the copy came without the columns: from a copy that was cut off.
    """
    decided = read_description(objects, SPARE)
    if objects.find_size(ROOT) is None and not _has_columns(objects, decided):
        raise UnfinishedError(
            f"{objects.name} holds an unfinished copy or import: run that command again to "
            "continue, or choose another path"
        )
    if decided.table is not None:
        following = _make_metadata(decided, decided.table)
        for key, data in following.items():
            objects.create(key, data)
        if not objects.create(make_generation_key(0), decided.table.to_bytes()):
            # an older version was stopped here, which wrote its record before anything was decided
            objects.put(make_generation_key(0), decided.table.to_bytes())
    objects.create(ROOT, decided.to_bytes())
    return write_metadata(Store(location, objects))


def _has_columns(objects: Objects, decided: Description) -> bool:
    """Whether the first table is there, of which older versions have the record alone."""
    try:
        table = decided.table or read_newest_generation(objects)
    except StoreError:
        return False
    return all(objects.find_size(key) == record.bytes for key, record in table.objects.items())


def _complete_columns(objects: Objects, columns: dict[str, bytes]) -> None:
    """Create columns once more where they are gone: until a record named them, they were garbage.

    Raises StoreError where other columns exist.
    """
    for key, data in columns.items():
        if not objects.create(key, data):
            raise StoreError(f"{objects.name}/{key} is damaged: run samcache cache repair")


def add_generation(store: Store, samples: pd.DataFrame) -> Store:
    """Give a store a new sample table, and open the store.

    samples: columns id, label, split, group and row, ascending; rows of samples new to the store
    lie past all its shards. Raises OvertakenError where another process was first.
    """
    number = store.generation.number + 1
    generation, columns = create_columns(store.objects, number, samples, store.generation.extent)
    created = store.objects.create(make_generation_key(number), generation.to_bytes())
    if created:
        _complete_columns(store.objects, columns)
    renewed = write_metadata(Store(store.location, store.objects))
    if created and renewed.generation == generation:
        return renewed
    raise OvertakenError(f"{store.location} was changed by another process: run the command again")


def write_metadata(store: Store) -> Store:
    """Bring everything that follows from the newest table up to date; the store with that table.

    A process that slept here may have put back what follows from an older table, so it looks for
    the newest once more before it ends.
    """
    newest = Store(store.location, store.objects)
    while True:
        store = newest
        expected = make_metadata(store)
        for key in find_stale_metadata(store):
            store.objects.put(key, expected[key])
        newest = Store(store.location, store.objects)
        if newest.generation == store.generation:
            return newest


def find_stale_metadata(store: Store) -> list[str]:
    """Keys whose objects are not what follows from the newest table, or are missing."""
    return [
        key
        for key, data in make_metadata(store).items()
        if (found := store.objects.find(key)) is None or not is_same_metadata(found, data)
    ]


def find_left_behind(store: Store) -> set[str]:
    """Stale keys whose objects follow from an older table: a process was cut off as it grew.

    The hint is the last to follow the newest table: it names the table of the others.
    """
    hint = store.objects.find(NEWEST, LARGEST_RECORD)
    try:
        before = parse_generation(hint or b"")
        older = _make_metadata(store.description, before)
    except StoreError:
        return set()
    if before.number >= store.generation.number:
        return set()
    return {
        key
        for key in find_stale_metadata(store)
        if is_same_metadata(store.objects.find(key) or b"", older[key])
    }


def make_metadata(store: Store) -> dict[str, bytes]:
    """Every object but the root record that follows from description and newest table."""
    return _make_metadata(store.description, store.generation)


def _make_metadata(description: Description, generation: Generation) -> dict[str, bytes]:
    return {
        BEGUN: PLAIN_GROUP,
        **make_array_metadata(description.make_layout(generation.extent), description.identity),
        NEWEST: generation.to_bytes(),
        SPARE: description.to_bytes(),
    }
