"""Bring a store into being, and give it another generation of its sample table."""

import logging
from pathlib import Path

import pandas as pd

from samcache.cache.claims import CLAIMS, Claims
from samcache.cache.description import BEGUN, ROOT, SPARE, Description
from samcache.cache.errors import StoreError
from samcache.cache.layout import metadata_objects, same_metadata
from samcache.cache.objects import LARGEST_RECORD, Objects
from samcache.cache.samples import (
    NEWEST,
    SAMPLES,
    Generation,
    generation_key,
    generation_objects,
    parse_generation,
)
from samcache.cache.store import Store

_log = logging.getLogger(__name__)
TABLE = "table"  # the claim under which a store's table and metadata are written

_PLAIN_GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
_TOP = {"features", "images", "extents", "statistics", SAMPLES, "commits", CLAIMS}


def store_exists(objects: Objects) -> bool:
    """Whether a store stands here; raises StoreError where something else does.

    What an interrupted creation left is nothing, and may be written over.
    """
    if objects.size(ROOT) is not None:
        return True
    if objects.folder is not None and objects.folder.is_file():
        raise StoreError(f"{objects.name} is a file: choose another place")
    prefixes, keys = objects.children("")
    begun = objects.children("commits")[0]
    if objects.size(ROOT) is not None:
        return True  # another process has just created it
    foreign = [*keys, *(prefix for prefix in prefixes if prefix.rstrip("/") not in _TOP)]
    if foreign:
        raise StoreError(
            f"{objects.name} exists, holds {foreign[0]}, and is not a samcache store: choose "
            "another place"
        )
    if begun:
        raise StoreError(
            f"{objects.name} holds what is left of another store, without its root record: run "
            "samcache cache repair there, or choose another place"
        )
    return False


def create_store(
    location: str | Path, objects: Objects, description: Description, samples: pd.DataFrame
) -> Store:
    """Create an empty store, under the claim TABLE; its root record is written last.

    samples: columns id, label, split and group, and row where rows are not simply counted.
    Whatever an interrupted creation left is written over.
    """
    table = samples if "row" in samples else samples.assign(row=range(len(samples)))
    generation, columns = generation_objects(0, table)
    arrays = metadata_objects(description.layout(generation.extent), description.identity)
    record = generation.to_bytes()
    for key, data in {
        BEGUN: _PLAIN_GROUP,
        **arrays,
        **columns,
        NEWEST: record,
        generation_key(0): record,
        SPARE: description.to_bytes(),
    }.items():
        objects.put(key, data)
    if not objects.create(ROOT, description.to_bytes()):
        raise StoreError(f"{objects.name} was created by another process: run the command again")
    store = Store(location, objects)
    _log.info("created %s: %d images in %d shards", objects.name, len(table), store.layout.shards)
    return store


def add_generation(store: Store, samples: pd.DataFrame) -> Store:
    """Give a store a new sample table, under the claim TABLE, and open it anew.

    samples: columns id, label, split, group and row, ascending; rows of samples new to the store
    lie past all its shards. Raises StoreError where another process was first.
    """
    number = store.generation.number + 1
    generation, columns = generation_objects(number, samples, store.generation.extent)
    for key, data in columns.items():
        store.objects.put(key, data)
    if not store.objects.create(generation_key(number), generation.to_bytes()):
        raise StoreError(f"{store.location} was changed by another process: run the command again")
    renewed = Store(store.location, store.objects)
    write_metadata(renewed)
    return renewed


def write_metadata(store: Store) -> None:
    """Bring everything that follows from the newest table up to date."""
    expected = expected_metadata(store)
    for key in stale_metadata(store):
        store.objects.put(key, expected[key])


def stale_metadata(store: Store) -> list[str]:
    """Keys whose objects are not what follows from the newest table, or are missing."""
    return [
        key
        for key, data in expected_metadata(store).items()
        if (found := store.objects.find(key)) is None or not same_metadata(found, data)
    ]


def left_behind(store: Store) -> set[str]:
    """Stale keys whose objects follow from an older table: a process was cut off as it grew.

    The hint is the last to follow the newest table, and tells which table the others are of.
    """
    hint = store.objects.find(NEWEST, LARGEST_RECORD)
    try:
        before = parse_generation(hint or b"")
        older = _metadata(store.description, before)
    except StoreError:
        return set()
    if before.number >= store.generation.number:
        return set()
    return {
        key
        for key in stale_metadata(store)
        if same_metadata(store.objects.find(key) or b"", older[key])
    }


def expected_metadata(store: Store) -> dict[str, bytes]:
    """Every object but the root record that follows from description and newest table."""
    return _metadata(store.description, store.generation)


def _metadata(description: Description, generation: Generation) -> dict[str, bytes]:
    return {
        BEGUN: _PLAIN_GROUP,
        **metadata_objects(description.layout(generation.extent), description.identity),
        NEWEST: generation.to_bytes(),
        SPARE: description.to_bytes(),
    }


def table_claim(claims: Claims, objects: Objects) -> None:
    """Take the claim TABLE or raise StoreError: another process is creating or changing it."""
    if claims.take(TABLE) is None:
        raise StoreError(f"{objects.name} is being created or changed by another process: wait")
