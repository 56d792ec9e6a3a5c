"""Copy what a store has before its first shard: metadata, sample tables and root record."""

from collections.abc import Iterator
from dataclasses import asdict

from samcache.cache.care.transfer.shards import DamageFoundError, fetch, is_at
from samcache.cache.commit import Writer
from samcache.cache.create import make_metadata, store_exists, write_metadata
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import ObjectRecord
from samcache.cache.format.description import ROOT, SPARE, read_description
from samcache.cache.format.layout import is_same_metadata
from samcache.cache.format.samples import (
    Generation,
    describe_difference,
    make_generation_key,
    parse_generation,
    read_samples,
)
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.store import Store

_TRIES = 3  # of writing one object


def copy_table(source: Store, objects: Objects) -> dict[str, str]:
    """Bring a destination's root record, sample tables and metadata up to the source's.

    Writes under the claim TABLE, in the order in which a store is created: first the copy of the
    root record, which decides that the destination is this store and no other; writes nothing where
    all is there. A destination with a newer table than the source's keeps it. Returns key -> what
    is wrong, for older sample tables that are damaged at the source. Raises StoreError where the
    destination holds anything but this store or a part of it, or where the newest table is damaged.
    """
    if not objects.listable:
        raise StoreError(f"{objects.name} is read-only: copy to the folder or bucket behind it")
    root = _read_root_record(source)
    _refuse_another(source, objects, root)
    damaged: dict[str, str] = {}
    if next(_list_lacking(source, objects, root, damaged), None) is not None:
        damaged.clear()
        with Writer(objects.name, objects) as writer, writer.claim_table():
            _refuse_another(source, objects, root)
            once = {SPARE, ROOT, *map(make_generation_key, range(source.generation.number + 1))}
            for key, data in _list_lacking(source, objects, root, damaged):
                _write(objects, key, data, key in once)
            write_metadata(writer.open())
    return damaged


def _read_root_record(source: Store) -> bytes:
    """The source's root record; raises StoreError where it changed since the store was opened."""
    root = source.objects.find(ROOT, LARGEST_RECORD) or b""
    if not is_same_metadata(root, source.description.to_bytes()):
        raise StoreError(f"{source.location}/{ROOT} has changed or is damaged: run the copy again")
    return root


def _refuse_another(source: Store, objects: Objects, root: bytes) -> None:
    """Raise StoreError unless the destination is empty or holds this store or a part of it."""
    key = ROOT if store_exists(objects) else SPARE
    found = objects.find(key, LARGEST_RECORD)
    if found is None or found == root or (key == SPARE and is_same_metadata(found, root)):
        return
    other = read_description(objects, key)
    if other.identity != source.identity:
        there, here = asdict(other.identity), asdict(source.identity)
        field = next(name for name in here if here[name] != there[name])
        what = f"its {field} is {there[field]!r}, the source's {here[field]!r}"
    elif other.dataset != source.dataset:
        what = f"of data set {other.dataset.name!r}, the source of {source.dataset.name!r}"
    else:
        what = "of the same identity, but created separately"
    raise StoreError(f"{objects.name} holds another store ({what}): choose another destination")


def _list_lacking(
    source: Store, objects: Objects, root: bytes, damaged: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of what is still to be written, in order."""
    if objects.find(SPARE) is None:
        yield SPARE, root
    newest = source.generation.number
    for number in range(newest + 1):
        try:
            yield from _list_lacking_of_generation(source, objects, number)
        except DamageFoundError as error:
            if number == newest:
                raise StoreError(f"{source.location}/{error}: run samcache cache repair") from None
            damaged[error.key] = error.problem
    if objects.find_size(make_generation_key(newest + 1)) is None:
        for key, expected in make_metadata(source).items():
            found = objects.find(key)
            if found is None or not is_same_metadata(found, expected):
                theirs = source.objects.find(key)
                sound = theirs is not None and is_same_metadata(theirs, expected)
                yield key, theirs if theirs is not None and sound else expected
    if objects.find(ROOT) is None:
        yield ROOT, root


def _list_lacking_of_generation(
    source: Store, objects: Objects, number: int
) -> Iterator[tuple[str, bytes]]:
    """A generation's columns and, last, its record; nothing where the source lacks it."""
    key = make_generation_key(number)
    data = source.objects.find(key, LARGEST_RECORD)
    if data is None:
        return
    try:
        generation = parse_generation(data)
    except StoreError as error:
        raise DamageFoundError(key, f"is damaged: {error}") from None
    standing = objects.find(key, LARGEST_RECORD)
    if standing not in (None, data):
        raise StoreError(
            f"sample table {number} of {objects.name} is not the source's "
            f"({_describe_table_difference(source, objects, generation, standing or b'')}): "
            "choose another destination"
        )
    for column, record in generation.objects.items():
        if objects.find_size(column) != record.bytes or (
            standing is None and not is_at(objects, column, record)
        ):
            yield column, fetch(source.objects, column, record)
    if standing is None:
        yield key, data


def _describe_table_difference(
    source: Store, objects: Objects, generation: Generation, standing: bytes
) -> str:
    """How two tables of one number differ, in a few words."""
    try:
        there = read_samples(objects, parse_generation(standing))
        here = read_samples(source.objects, generation)
    except StoreError as error:
        return str(error)
    return describe_difference(there, here) or "the same samples in other rows"


def _write(objects: Objects, key: str, data: bytes, once: bool) -> None:
    """Write an object and read it back; raises StoreError where it does not arrive.

    ``once``: it makes a table or a store exist, and must not be written over.
    """
    for _ in range(_TRIES):
        if not once:
            objects.put(key, data)
        elif not objects.create(key, data):
            raise StoreError(f"{objects.name} was changed by another process: run the copy again")
        if is_at(objects, key, ObjectRecord.of(data)):
            return
        if once:
            objects.delete([key])
    raise StoreError(
        f"{objects.name}/{key} arrived with other bytes than were sent: run the copy again"
    )
