"""The sample table: one row per image, kept in generations that are written once and never changed.

A generation is four columns, those of a manifest that were kept, and a record,
``samples/<generation>/zarr.json``, written last. The newest one counts. Appending, dropping and
relabelling images is writing another generation. Columns are created and never written over. Where
a writer that was interrupted left other columns, those of the next writer get a folder of their
own.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr
from zarr.buffer.cpu import Buffer
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from samcache.cache.errors import StoreError
from samcache.cache.files.typed_json import Count, Text, convert
from samcache.cache.format.commit_record import ObjectRecord
from samcache.cache.format.records import compute_checksum, seal, unseal
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.text import count_nouns

COLUMNS = ("id", "label", "split", "group")
SPLITS = ("train", "val", "test")
NO_LABEL = -1  # in place of the number of a class, in a store without classes
SAMPLES = "samples"
KEPT = "kept_"  # before the name of a kept column in a table, and before its number in a store
_MOST_KEPT = 256  # columns
_LONGEST_NAME = 100  # characters of a kept column's
_HASH = 16  # hex digits in the name of a folder of columns
_TYPES: dict[str, type] = {"id": object, "label": np.int64, "split": object, "group": object}

_LABEL_BYTES = 8
_FEW_ROWS = 1 << 22  # what is made for each row of so few takes no memory to speak of
_SPARSEST = 1024  # rows of a large table's arrays for each of its samples, the others dropped

NEWEST = f"{SAMPLES}/zarr.json"  # a copy of the newest record: a hint, and its spare
PLAIN_GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'


@dataclass(frozen=True)
class Generation:
    """The record of one table: the rows of the arrays that its samples have, and its objects.

    kept: the names of the columns that were kept of a manifest, in the order of their objects.
    """

    number: Count
    runs: tuple[tuple[Count, Count], ...]  # first row and one past the last, ascending
    extent: Count  # rows that the arrays need for this generation and all before it
    objects: dict[Text, ObjectRecord]
    kept: tuple[Text, ...] = ()

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Each sample's row on the arrays' first axis, (n,) int64, ascending."""
        pieces = [np.arange(start, stop) for start, stop in self.runs]
        return np.concatenate([np.empty(0, np.int64), *pieces])

    @property
    def count(self) -> int:
        """Samples in the table."""
        return sum(stop - start for start, stop in self.runs)

    @property
    def folder(self) -> str:
        """The folder of the columns within the generation's own; empty for none."""
        return _name_folder(self.number, self.objects)

    def make_column_key(self, column: str) -> str:
        """The object that holds one column."""
        return next(key for key in self.objects if key.endswith(f"/{column}/c/0"))

    def to_bytes(self) -> bytes:
        """The sealed record."""
        return seal(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The record as plain values, as older versions wrote it where no column is kept."""
        content = asdict(self)
        if not self.kept:
            del content["kept"]
        return content


def list_columns(samples: pd.DataFrame) -> list[str]:
    """The columns of a table that a generation holds: COLUMNS and those that are kept."""
    return [*COLUMNS, *list_kept(samples)]


def list_kept(samples: pd.DataFrame) -> list[str]:
    """The columns of a table that were kept of a manifest, with KEPT before their names."""
    return [name for name in map(str, samples) if name.startswith(KEPT)]


def is_column_name(name: str) -> bool:
    """Whether a column of this name can be kept: HDF5 and terminals have to take it."""
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable() and "/" not in name


def make_generation_key(number: int) -> str:
    """The object that makes a generation exist."""
    return f"{SAMPLES}/{number:08d}/zarr.json"


def create_columns(
    objects: Objects, number: int, samples: pd.DataFrame, extent: int = 0
) -> tuple[Generation, dict[str, bytes]]:
    """Create the columns of a generation; returns its record, not written yet, and the columns.

    Nothing is overwritten: where other columns exist, a folder named by a hash holds these.
    Arguments and errors as ``make_generation_objects``.
    """
    generation, columns = make_generation_objects(number, samples, extent)
    if all(objects.create(key, data) for key, data in columns.items()):
        return generation, columns
    own = compute_checksum(generation.to_bytes())[:_HASH]
    generation, columns = make_generation_objects(number, samples, extent, own)
    for key, data in columns.items():
        if not objects.create(key, data):
            raise StoreError(f"{objects.name}/{key} is damaged: run samcache cache gc")
    return generation, columns


def make_generation_objects(
    number: int, samples: pd.DataFrame, extent: int = 0, folder: str = ""
) -> tuple[Generation, dict[str, bytes]]:
    """The record and all other objects of a generation.

    samples: columns id, label, split, group (text, but label int), row (ascending), and KEPT + name
    (text) for each kept one. extent: of the generation before, since rows are never given to other
    samples. folder: of the columns within the generation's own. Raises StoreError for a table
    without samples.
    """
    if samples.empty:
        raise StoreError("a store needs at least one sample: the source would leave none")
    memory: dict[str, Any] = {}
    kept = tuple(name.removeprefix(KEPT) for name in list_kept(samples))
    arrays = _make_columns(memory, len(samples), len(kept))
    for name, array in zip(list_columns(samples), arrays.values(), strict=True):
        array[:] = samples[name].to_numpy().astype(_TYPES.get(name, object))
    prefix = _name_prefix(number, folder)
    objects = {
        f"{prefix}/{key}": value.to_bytes() for key, value in memory.items() if key != "zarr.json"
    }
    if folder:
        objects[f"{prefix}/zarr.json"] = PLAIN_GROUP
    records = {key: ObjectRecord.of(data) for key, data in objects.items()}
    runs = _find_runs(samples["row"].to_numpy())
    return Generation(number, runs, max(extent, runs[-1][1]), records, kept), objects


def read_newest_generation(objects: Objects) -> Generation:
    """The record of the newest table; raises StoreError where it is missing or damaged.

    Starts at the hint, so that a few requests find it behind a web server too.
    """
    hint = objects.find(NEWEST, LARGEST_RECORD)
    try:
        number = parse_generation(hint or b"").number
        found = objects.find(make_generation_key(number), LARGEST_RECORD)
    except StoreError:
        number, found = 0, None
    if found is None:  # no hint, or it is of a table that was collected since
        number = find_newest_listed(objects) if objects.listable else 0
        found = objects.find(make_generation_key(number), LARGEST_RECORD)
    if found is None:
        raise StoreError(f"{objects.name} has no sample table: run samcache cache repair")
    while (following := objects.find(make_generation_key(number + 1), LARGEST_RECORD)) is not None:
        number, found = number + 1, following
    generation = parse_generation(found)
    if generation.number != number:
        raise StoreError(f"{make_generation_key(number)} is the record of another table: damaged")
    check_count(objects, generation)
    return generation


def check_count(objects: Objects, generation: Generation) -> None:
    """Raise StoreError where a large table claims more samples than its labels have bytes for.

    Only its object has the true count; a record can claim any number.
    """
    if generation.count > _FEW_ROWS:
        key = generation.make_column_key("label")
        if (objects.find_size(key) or 0) // _LABEL_BYTES != generation.count:
            raise StoreError(f"{key} does not hold {generation.count} values: it is damaged")


def find_newest_listed(objects: Objects) -> int:
    """The highest number of a table that has a record, 0 where none has."""
    names = [key.split("/")[1] for key in objects.list_objects(SAMPLES) if key.count("/") == 2]
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)


def parse_generation(data: bytes) -> Generation:
    """Parse and check a record; raises StoreError where it is damaged."""
    try:
        generation = convert(unseal(data), Generation)
        check_generation(generation)
        return generation
    except ValueError as error:
        raise StoreError(
            f"the record of the sample table is damaged ({error}): run samcache cache repair"
        ) from None


def check_generation(generation: Generation) -> None:
    """Raise ValueError where a table claims rows or objects that no honest one has."""
    runs, extent = generation.runs, generation.extent
    flat = [0, *(place for run in runs for place in run)]
    if flat != sorted(flat) or any(start == stop for start, stop in runs):
        raise ValueError("its rows are out of order")
    if not runs or extent < flat[-1]:
        raise ValueError("it has no rows, or more than its extent")
    if extent > max(_FEW_ROWS, _SPARSEST * generation.count):
        raise ValueError(f"it claims an extent of {extent} rows for {generation.count} samples")
    folder = _name_folder(generation.number, generation.objects)
    kept = generation.kept
    if len(kept) > _MOST_KEPT or len(set(kept)) < len(kept) or not all(map(is_column_name, kept)):
        raise ValueError("it has too many kept columns, or odd or repeated names of them")
    if generation.objects.keys() != set(_list_keys(generation.number, folder, len(kept))):
        raise ValueError("it names other objects than its columns")


def read_samples(
    objects: Objects, generation: Generation, classes: int | None = None
) -> pd.DataFrame:
    """The table of a generation, with its column row; raises StoreError where it is damaged.

    classes: how many the labels count, where the store is known; of 0 classes each sample has
    NO_LABEL.
    """
    columns = {column: read_column(objects, generation, column) for column in COLUMNS}
    labels = columns["label"].astype(np.int64)
    lowest = 0 if classes else NO_LABEL
    if classes is not None and not ((labels >= lowest) & (labels < (classes or 0))).all():
        raise StoreError(
            f"{generation.make_column_key('label')} holds labels outside the store's {classes} "
            "classes: the store is damaged: extract it again"
        )
    if not set(columns["split"]) <= set(SPLITS):
        raise StoreError(
            f"{generation.make_column_key('split')} holds other splits than "
            f"{', '.join(SPLITS)}: the store is damaged: extract it again"
        )
    kept = {
        f"{KEPT}{name}": read_column(objects, generation, f"{KEPT}{place}")
        for place, name in enumerate(generation.kept)
    }
    return pd.DataFrame({**columns, "label": labels, **kept}).assign(row=generation.rows)


def read_column(objects: Objects, generation: Generation, column: str) -> npt.NDArray[np.object_]:
    """One column of a generation, (n,) objects; raises StoreError where it is damaged.

    column: of COLUMNS, or KEPT and the number of a kept one.
    """
    memory: dict[str, Any] = {}
    array = _make_columns(memory, generation.count, len(generation.kept))[column]
    memory[f"{column}/c/0"] = Buffer.from_bytes(_read_chunk(objects, generation, column))
    try:
        return np.asarray(array[:]).astype(object)
    except (ValueError, RuntimeError, TypeError):
        key = generation.make_column_key(column)
        raise StoreError(f"{key} is damaged: run samcache cache repair with the source") from None


def _read_chunk(objects: Objects, generation: Generation, column: str) -> bytes:
    """A column's one object, found to be what was written and to hold as many values."""
    key = generation.make_column_key(column)
    record = generation.objects[key]
    data = objects.find(key, record.bytes)
    if data is None or ObjectRecord.of(data) != record:
        raise StoreError(f"{key} is missing or damaged: run samcache cache repair with the source")
    counted = len(data) // _LABEL_BYTES if column == "label" else int.from_bytes(data[:4], "little")
    if counted != generation.count:
        raise StoreError(f"{key} holds {counted} values instead of {generation.count}: damaged")
    return data


def _list_keys(number: int, folder: str, kept: int) -> list[str]:
    """Every object of a generation but its record; kept: columns."""
    prefix, names = _name_prefix(number, folder), _name_columns(kept)
    columns = [f"{prefix}/{column}/{part}" for column in names for part in ("zarr.json", "c/0")]
    return [*columns, f"{prefix}/zarr.json"] if folder else columns


def _name_columns(kept: int) -> tuple[str, ...]:
    """The columns of a generation as its objects are named."""
    return (*COLUMNS, *(f"{KEPT}{place}" for place in range(kept)))


def _name_prefix(number: int, folder: str) -> str:
    """The prefix of a generation's columns."""
    return "/".join([SAMPLES, f"{number:08d}", *([folder] if folder else [])])


def _name_folder(number: int, keys: Iterable[str]) -> str:
    """The folder of a generation's columns within its own, by their keys; empty for none."""
    own = re.compile(rf"{_name_prefix(number, '')}/([0-9a-f]{{{_HASH}}})/zarr\.json")
    return next((found[1] for key in keys if (found := own.fullmatch(key))), "")


def _make_columns(memory: dict[str, Any], count: int, kept: int) -> dict[str, zarr.Array[Any]]:
    """Empty columns of one checksummed chunk each, in a group whose objects are ``memory``."""
    root = zarr.create_group(MemoryStore(memory))
    return {
        column: root.create_array(
            column,
            shape=(count,),
            chunks=(max(1, count),),
            dtype=np.int64 if column == "label" else str,
            compressors=[Crc32cCodec()],
            dimension_names=("sample",),
            config={"write_empty_chunks": True},
        )
        for column in _name_columns(kept)
    }


def describe_difference(stored: pd.DataFrame, given: pd.DataFrame) -> str | None:
    """Say in a few words how two tables differ; None where they are equal."""
    if len(stored) != len(given):
        return f"{count_nouns(len(stored), 'sample')} in the store, {len(given)} in the source"
    if set(list_columns(stored)) != set(list_columns(given)):
        return "other kept columns"
    for column in list_columns(stored):
        differs = (stored[column].to_numpy() != given[column].to_numpy()).nonzero()[0]
        if len(differs):
            row = int(differs[0])
            before, after = stored[column].iloc[row], given[column].iloc[row]
            return (
                f"{column} differs in {count_nouns(len(differs), 'sample')}, first in row {row}: "
                f"{before!r} in the store, {after!r} in the source"
            )
    return None


def _find_runs(rows: Any) -> tuple[tuple[int, int], ...]:
    """Ascending rows as stretches without a gap."""
    if len(rows) == 0:
        return ()
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    stretches = np.split(rows, breaks)
    return tuple((int(part[0]), int(part[-1]) + 1) for part in stretches)
