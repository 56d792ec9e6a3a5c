"""A whole store as one HDF5 file, and back, bit for bit.

    features/<level>   (N, V, C, h, w)    as in the store, one chunk an image, Fletcher-32
    images             (N, F, F, 3)       uint8, where the store has any
    statistics         (N, 2, sum of C)   float32
    samples/<column>   (n,)               id, label, split, group, row, status, reason, sha256
    classes            (K,)               names; a label indexes them
    records/<key>      bytes              the store's root, table and commit records as they are

``samples/row`` is a sample's place on the first axis of the arrays. Rows whose status is not "ok"
hold no data and read as zeros. Import reads arrays and records alone; ``samples`` is for people.
"""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from samcache.cache.care.hdf5.file import RECORDS, DamagedFileError, ExportedFile, RecordsInFile
from samcache.cache.care.hdf5.output import KeepingFile, create_hdf5
from samcache.cache.commit import Writer, commit_objects
from samcache.cache.create import make_metadata, store_exists, write_metadata
from samcache.cache.errors import StoreError
from samcache.cache.files.whole_file import replace_file
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_shard_name,
)
from samcache.cache.format.description import ROOT, SPARE
from samcache.cache.format.layout import ArraySpec, is_same_metadata
from samcache.cache.format.samples import make_generation_key
from samcache.cache.format.shards import encode_shard
from samcache.cache.objects.base import LARGEST_RECORD
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import Store
from samcache.cache.text import count_nouns

_COMMITS = "commits"
_SHARD = re.compile("[0-9]{8,15}")
_ADVICE = re.compile(": (?:run )?samcache ")  # what follows is for stores that are no files


def export_store(store: Store, file: Path, on_progress: OnProgress = ignore_progress) -> None:
    """Write a store into one new HDF5 file.

    The file has its name only when it is complete. Shards without a commit stay empty. Raises
    StoreError where the file exists or cannot be written, or the store is damaged.
    """
    if os.path.lexists(file):
        raise _report_taken(file)
    if not file.parent.is_dir():
        raise StoreError(f"{file.parent} is not a folder: create it, or choose another name")
    try:
        with replace_file(file, exclusive=True) as part, create_hdf5(part) as (target, out):
            _write_store(target, store, out, on_progress)
    except FileExistsError:
        raise _report_taken(file) from None


def _write_store(
    target: h5py.File, store: Store, out: KeepingFile, on_progress: OnProgress
) -> None:
    records = _read_records(store)
    samples = store.samples
    target.attrs["format"] = "samcache store"
    target.attrs["fingerprint"] = store.fingerprint
    target.attrs["dataset"] = _clean_text(store.dataset.name)
    for key, data in records.items():
        _write_record(target, key, data)
    _write_text(target, "classes", store.dataset.classes)
    for column in samples:
        if samples[column].dtype == np.int64:
            target[f"samples/{column}"] = samples[column].to_numpy()
        else:
            _write_text(target, f"samples/{column}", samples[column])
        out.raise_failure()
    arrays = {spec.path: _create_array(target, spec, store) for spec in store.arrays.values()}
    for number, (shard, commit) in enumerate(store.commits.items(), 1):
        _write_shard(target, out, arrays, store, shard, commit)
        on_progress("exporting", number, len(store.commits))


def _write_shard(
    target: h5py.File,
    out: KeepingFile,
    arrays: dict[str, h5py.Dataset],
    store: Store,
    shard: int,
    commit: Commit,
) -> None:
    """Rows and commit record of one shard, found to be what was committed."""
    record = store.objects.find(make_commit_key(shard), LARGEST_RECORD)
    if record is None or Commit.from_bytes(record, shard) != commit:
        raise StoreError(f"{store.location}: shard {shard} changed during the export: export again")
    present = commit.mark_present(store.rows_per_shard)
    for path in store.arrays:
        rows = store.read(path, *commit.rows)
        for place in np.flatnonzero(present):
            arrays[path][commit.rows[0] + place] = rows[place]
            out.raise_failure()
    _write_record(target, make_commit_key(shard), record)


def _create_array(target: h5py.File, spec: ArraySpec, store: Store) -> h5py.Dataset:
    array = target.create_dataset(
        spec.path,
        (store.layout.rows, *spec.row),
        np.dtype(spec.dtype).newbyteorder("<"),
        chunks=(1, *spec.row),
        fletcher32=True,
    )
    for axis, name in enumerate(("sample", *spec.dimensions)):
        array.dims[axis].label = name
    return array


def _write_record(target: h5py.File, key: str, data: bytes) -> None:
    target[f"{RECORDS}/{key}"] = np.frombuffer(data, np.uint8)


def _write_text(target: h5py.File, name: str, texts: Any) -> None:
    column = np.array([_clean_text(text) for text in texts], object)
    target.create_dataset(name, data=column, dtype=h5py.string_dtype())


def _clean_text(text: str) -> str:
    """A text that HDF5 can hold: without NUL and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _report_taken(file: Path) -> StoreError:
    return StoreError(f"{file} already exists: remove it, or choose another name")


def import_store(
    file: Path, destination: str | Path, on_progress: OnProgress = ignore_progress
) -> Store:
    """Make a store, in a folder or at a URL, from the HDF5 file that ``export_store`` wrote.

    Every object has the bytes that it had in the exported store; what has other bytes than its
    record says is not written. An interrupted import is a store that lacks shards; importing again
    completes it. Raises StoreError where the file is damaged or the place holds another store.
    """
    with closing(ExportedFile(file)) as exported:
        source, records = _open_source(exported)
        shards = _list_committed(exported, source)
        objects = open_objects(destination)
        store_exists(objects)  # before a claim is written into a place that is no store
        with Writer(destination, objects) as writer:
            store = _begin(source, records, writer)
            busy = 0
            for number, shard in enumerate(shards, 1):
                busy += not _import_shard(exported, source, store, shard, writer)
                on_progress("importing", number, len(shards))
    if busy:
        raise StoreError(
            f"{store.location}: another process is writing {count_nouns(busy, 'shard')}: run the "
            "command again when that process has finished"
        )
    return Store(destination, objects)


def _open_source(exported: ExportedFile) -> tuple[Store, dict[str, bytes]]:
    """The store whose records a file holds, and those of its records that are no commits."""
    with _report_damage(exported):
        source = Store(exported.path, RecordsInFile(exported))
        records = _read_records(source)
        len(source.table)  # can it be read?
    return source, records


def _read_records(store: Store) -> dict[str, bytes]:
    """Every object of a store but arrays and commits, by key; raises StoreError where damaged."""
    generation, expected = store.generation, make_metadata(store)
    keys = [*expected, *generation.objects, make_generation_key(generation.number), ROOT]
    records = {}
    for key in keys:
        data = store.objects.find(key)
        wrong = data is None or (
            (key in expected and not is_same_metadata(data, expected[key]))
            or (key in generation.objects and ObjectRecord.of(data) != generation.objects[key])
        )
        if data is None or wrong:
            raise StoreError(
                f"{store.location}/{key} is missing or damaged: run samcache cache repair"
            )
        records[key] = data
    return records


def _list_committed(exported: ExportedFile, source: Store) -> list[int]:
    """The shards whose commit records a file holds."""
    names = set(exported.list_names(_COMMITS)) - {"zarr.json"}
    shards = sorted(int(name) for name in names if _SHARD.fullmatch(name))
    unknown = names - {make_shard_name(shard) for shard in shards if shard < source.layout.shards}
    if unknown:
        raise DamagedFileError(exported.path, f"{min(unknown)[:40]!r} is not a shard of the store")
    return shards


def _begin(source: Store, records: dict[str, bytes], writer: Writer) -> Store:
    """The store to import into: a new one without shards, or what an earlier import began."""
    objects = writer.objects
    with writer.claim_table():
        if not store_exists(objects) and objects.create(SPARE, records[SPARE]):
            # The copy of the root record decides what the store is: the rest may be overwritten.
            for key, data in records.items():
                if key != ROOT:
                    objects.put(key, data)
            objects.create(ROOT, records[ROOT])
    store = write_metadata(writer.open())
    if objects.find(ROOT) != records[ROOT] or store.generation != source.generation:
        raise StoreError(
            f"{store.location} holds another store than {source.location}: choose another path"
        )
    return store


def _import_shard(
    exported: ExportedFile, source: Store, store: Store, shard: int, writer: Writer
) -> bool:
    """Write one shard, its commit record last; False where another process holds it."""
    with _report_damage(exported):
        record, commit = source.objects.get(make_commit_key(shard)), source.read_commit(shard)
    standing = store.objects.find(make_commit_key(shard))
    if standing == record:
        return True
    if standing is not None:
        raise StoreError(
            f"{store.location}: shard {shard} was written by another run: choose another path"
        )
    claim = writer.claim(shard)
    if claim is None:
        return False
    with claim:
        objects = _encode_objects(exported, source, commit)
        return commit_objects(store, commit, record, objects, claim.is_ours)


def _encode_objects(
    exported: ExportedFile, source: Store, commit: Commit
) -> Iterator[tuple[str, bytes]]:
    """The objects of a shard, one at a time; raises StoreError at one that is not as committed."""
    present, (start, stop) = commit.mark_present(source.rows_per_shard), commit.rows
    for spec in source.arrays.values():
        rows = exported.read_rows(spec, source.layout.rows, start, present[: stop - start])
        key, data = spec.make_key(commit.shard), encode_shard(rows, present)
        if ObjectRecord.of(data) != commit.objects[key]:
            raise DamagedFileError(
                exported.path, f"rows {start} to {stop} of {spec.path} are not what was exported"
            )
        yield key, data


@contextmanager
def _report_damage(exported: ExportedFile) -> Iterator[None]:
    """Report errors of the records as damage of the file, without advice for stores."""
    try:
        yield
    except DamagedFileError:
        raise
    except StoreError as error:
        raise DamagedFileError(exported.path, _ADVICE.split(str(error))[0]) from None
    except (ValueError, TypeError, RuntimeError, MemoryError, FileNotFoundError) as error:
        raise DamagedFileError(exported.path, f"its records cannot be read: {error}") from None
