"""An HDF5 file as ``cache/care/hdf5/store.py`` writes it, read without trusting it.

HDF5 files can point to other files (external links, external storage, virtual data sets), to
themselves, and to types whose reading builds objects. None of these is followed: every name is
looked up as a hard link, and a data set is read only where its type, shape, chunks and filters are
those that samcache writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5g, h5l, h5o, h5s, h5t, h5z

from samcache.cache.errors import StoreError, read_first_line
from samcache.cache.format.layout import ArraySpec
from samcache.cache.format.shards import Present
from samcache.cache.objects.base import Part, ReadOnlyObjects, fill_buffers

# The group whose data sets hold whole objects of the store, named by their keys.
RECORDS = "records"


class DamagedFileError(StoreError):
    """A file that is not what ``export_store`` wrote."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} is damaged or not an exported store ({what}): export the store again"
        )


class ExportedFile:
    """An open HDF5 file of unknown origin; every method raises StoreError where it is damaged."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises StoreError where it is missing or not HDF5."""
        if not path.is_file():
            raise StoreError(f"{path}: no such file: give a file that samcache cache export wrote")
        self.path = path
        self.bytes = path.stat().st_size
        try:
            self._file = h5py.File(path, "r")
        except (OSError, RuntimeError) as error:
            raise StoreError(
                f"{path} is not an HDF5 file, or cut short ({read_first_line(error)}): give a file "
                "that samcache cache export wrote"
            ) from None
        self._arrays: dict[str, h5py.Dataset] = {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read_record(self, key: str, largest: int | None = None) -> bytes:
        """A whole object of the store; raises FileNotFoundError where the file has none of the key.

        Raises StoreError where it is larger than ``largest`` or than the file.
        """
        name = f"{RECORDS}/{key}"
        with self._report_damage(name):
            found = self._find_object(name)
            data = (
                None
                if found is None
                else _read_bytes(found, min(self.bytes, largest or self.bytes))
            )
        if data is None:
            raise FileNotFoundError(key)
        return data

    def list_names(self, group: str) -> list[str]:
        """The names in a group of records."""
        name = f"{RECORDS}/{group}"
        with self._report_damage(name):
            found = self._find_object(name)
            if not isinstance(found, h5g.GroupID):
                raise ValueError("it is not a group")
            return sorted(link.decode() for link in found)

    def read_rows(
        self, spec: ArraySpec, extent: int, start: int, present: Present
    ) -> npt.NDArray[np.generic]:
        """The rows of an array that are present, from row ``start`` on; others are zeros.

        extent: rows that the array has to have. present: (n,) bool. Returns (n, …) of its dtype.
        """
        with self._report_damage(spec.path):
            array = self._open_array(spec, extent)
            if int(present.sum()) * spec.row_bytes > self.bytes:
                raise ValueError("it claims more bytes than the file has")
            out = np.zeros((len(present), *spec.row), spec.dtype)
            for first, last in _find_stretches(present):
                array.read_direct(out, np.s_[start + first : start + last], np.s_[first:last])
            return out

    def _open_array(self, spec: ArraySpec, extent: int) -> h5py.Dataset:
        """An array's data set, found to be stored as samcache stores it."""
        if spec.path not in self._arrays:
            dataset = self._find_object(spec.path)
            plan = _refuse(dataset, h5d.CHUNKED, np.dtype(spec.dtype))
            filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
            shape = dataset.get_space().get_simple_extent_dims()
            if shape != (extent, *spec.row):
                raise ValueError(f"its shape is {shape}, not {(extent, *spec.row)}")
            if plan.get_chunk() != (1, *spec.row) or filters != [h5z.FILTER_FLETCHER32]:
                raise ValueError("its chunks or filters are not those of an exported store")
            self._arrays[spec.path] = h5py.Dataset(dataset)
        return self._arrays[spec.path]

    def _find_object(self, name: str) -> Any:
        """What a path leads to over hard links alone, None where it ends."""
        place = h5g.open(self._file.id, b"/")
        for part in name.encode().split(b"/"):
            if not isinstance(place, h5g.GroupID):
                raise ValueError("its parent is not a group")
            if not place.links.exists(part):
                return None
            # not ``place[part]`` or ``part in place``: both follow links into other files
            if place.links.get_info(part).type != h5l.TYPE_HARD:
                raise ValueError("it is a link, and links are not followed")
            place = h5o.open(place, part)
        return place

    @contextmanager
    def _report_damage(self, name: str) -> Iterator[None]:
        """Turn what HDF5 raises into one line for a user."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
            raise DamagedFileError(self.path, f"{name}: {read_first_line(error)}") from None


class RecordsInFile(ReadOnlyObjects):
    """The records of an exported store as the objects of a store."""

    def __init__(self, file: ExportedFile) -> None:
        self.name = str(file.path)
        self._file = file

    def get(self, key: str, largest: int | None = None) -> bytes:
        return self._file.read_record(key, largest)

    def find_size(self, key: str) -> int | None:
        data = self.find(key)
        return None if data is None else len(data)

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        fill_buffers(memoryview(self.get(key)), buffers)

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        data = memoryview(self.get(key))
        for offset, buffers in parts:
            fill_buffers(data[offset:], buffers)


def _read_bytes(dataset: Any, largest: int) -> bytes:
    """What a data set of bytes holds; raises ValueError where it is anything else."""
    _refuse(dataset, h5d.CONTIGUOUS, np.dtype(np.uint8))
    shape = dataset.get_space().get_simple_extent_dims()
    if len(shape) != 1 or shape[0] > largest:
        raise ValueError(f"its shape is {shape}")
    data = np.empty(shape, np.uint8)
    dataset.read(h5s.ALL, h5s.ALL, data)
    return data.tobytes()


def _refuse(dataset: Any, layout: int, dtype: np.dtype[Any]) -> Any:
    """A data set's creation properties; raises ValueError where it is stored in another way.

    The layout comes first: to ask a virtual data set for its shape may open other files.
    """
    if not isinstance(dataset, h5d.DatasetID):
        raise ValueError("it is missing" if dataset is None else "it is not a data set")
    plan = dataset.get_create_plist()
    if plan.get_layout() != layout:
        raise ValueError("it is not stored as samcache stores it")
    if layout == h5d.CONTIGUOUS and plan.get_external_count():
        raise ValueError("its data are in another file")
    if not dataset.get_type().equal(h5t.py_create(dtype.newbyteorder("<"))):
        raise ValueError(f"its values are not {dtype}")
    if dataset.get_space().get_simple_extent_type() != h5s.SIMPLE:
        raise ValueError("it has no shape")
    return plan


def _find_stretches(present: Present) -> Iterator[tuple[int, int]]:
    """First and one past the last place of every unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]])))
    yield from ((int(first), int(last)) for first, last in edges.reshape(-1, 2))
