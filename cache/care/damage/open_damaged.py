"""Open a store whose records are damaged, by their spares and checksums."""

from dataclasses import dataclass
from pathlib import Path

from samcache.cache.care.damage.one_bit import correct_small, is_sealed
from samcache.cache.errors import AccessError, StoreError, UnfinishedError, UnreachableError
from samcache.cache.format.description import ROOT, SPARE, read_description
from samcache.cache.format.samples import (
    NEWEST,
    Generation,
    check_count,
    find_newest_listed,
    make_generation_key,
    parse_generation,
    read_newest_generation,
)
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store


@dataclass(frozen=True)
class Damage:
    """One object that differs from its record, and the rows of the arrays that are lost."""

    key: str
    problem: str
    rows: tuple[int, ...] = ()


def open_damaged(location: str | Path) -> tuple[Store, list[Damage]]:
    """Open a store by its spare records where others are damaged; the store and its damage.

    Raises StoreError where no store exists, or neither a record nor its spare can be read.
    """
    objects, damage = open_objects(location), []
    try:
        description = read_description(objects)
    except (AccessError, UnfinishedError, UnreachableError):
        raise
    except StoreError:
        if objects.find_size(SPARE) is None:
            raise
        description = read_description(objects, SPARE)
        damage.append(Damage(ROOT, "is missing or damaged"))
    store = Store(location, objects, description)
    try:
        store.generation = read_newest_generation(objects)
    except (AccessError, UnreachableError):
        raise
    except StoreError as error:
        store.generation = _restore_generation(objects)
        damage.append(Damage(make_generation_key(store.generation.number), str(error)))
    return store, damage


def _restore_generation(objects: Objects) -> Generation:
    """The newest table's record from its copy, or, of a table that has none yet, corrected."""
    spare = objects.find(NEWEST, LARGEST_RECORD)
    number = find_newest_listed(objects) if objects.listable else 0
    damaged = objects.find(make_generation_key(number), LARGEST_RECORD) or b""
    for data in (spare, correct_small(damaged, is_sealed)):
        try:
            generation = parse_generation(data or b"")
        except StoreError:
            continue
        if generation.number >= number:
            check_count(objects, generation)
            return generation
    raise StoreError(f"{objects.name} has lost its sample table and the spare of it")
