"""An HDF5 file that is damaged or hostile is refused in one line, and does no harm."""

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from store_content import create, everything, full_store

from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import Commit, ObjectRecord, make_commit_key
from samcache.cache.format.records import seal, unseal
from samcache.cache.format.shards import count_shard_bytes
from samcache.cache.store import Store


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A full store, and the file that it was exported to."""
    export_store(full_store(tmp_path / "s.zarr"), tmp_path / "s.h5")
    return tmp_path / "s.h5"


def refused(file: Path, match: str = ".") -> None:
    """Importing raises one line that names the file, and writes no shard but those that agree."""
    destination = file.with_suffix(".imported")
    with pytest.raises(StoreError, match=match) as raised:
        import_store(file, destination)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)
    original = everything(Store(file.with_suffix(".zarr")))
    if destination.exists():
        written = {
            path.relative_to(destination).as_posix(): path.read_bytes()
            for path in destination.rglob("*")
            if path.is_file()
        }
        assert all(original[key] == data for key, data in written.items())


@pytest.mark.parametrize("length", [0, 100, 3000, 20_000, -1])
def test_a_truncated_file_is_refused(exported: Path, length: int) -> None:
    exported.write_bytes(exported.read_bytes()[:length])
    refused(exported, "not an HDF5 file, or cut short")


def test_what_is_no_hdf5_or_another_hdf5_is_refused(exported: Path, tmp_path: Path) -> None:
    exported.write_text("id,label\n1,2\n")
    refused(exported, "not an HDF5 file")
    with h5py.File(exported, "w") as file:
        file["x"] = np.arange(10)
    refused(exported, "not an exported store")
    with pytest.raises(StoreError, match="no such file"):
        import_store(tmp_path / "missing.h5", tmp_path / "t")
    with pytest.raises(StoreError, match="no such file"):
        import_store(tmp_path, tmp_path / "t")


def test_any_missing_part_is_refused(exported: Path) -> None:
    names: list[str] = []
    with h5py.File(exported) as file:
        file.visit(names.append)
    needed = [name for name in names if not name.startswith(("samples", "classes"))]
    whole = exported.read_bytes()
    for name in needed:
        if name == "records/commits" or not name.startswith("records/commits/0"):
            exported.write_bytes(whole)
            with h5py.File(exported, "r+") as file:
                del file[name]
            refused(exported)


def test_a_shard_whose_commit_record_is_missing_stays_pending(
    exported: Path, tmp_path: Path
) -> None:
    with h5py.File(exported, "r+") as file:
        del file["records/commits/00000001"]
    assert import_store(exported, tmp_path / "t.zarr").list_pending() == [1]


def test_a_changed_value_is_never_written(exported: Path) -> None:
    with h5py.File(exported, "r+") as file:
        file["features/neck"][5, 0, 0, 0, 0] = 3
    refused(exported, "rows 4 to 8 of features/neck are not what was exported")
    assert Store(exported.with_suffix(".imported")).list_pending() == [1, 2]


def test_a_flipped_bit_in_an_array_is_found_by_hdf5_itself(exported: Path) -> None:
    with h5py.File(exported) as file:
        offset = file["images"].id.get_chunk_info(3).byte_offset
    data = bytearray(exported.read_bytes())
    data[offset] ^= 1
    exported.write_bytes(data)
    refused(exported, "images")


RECORDS = ("zarr.json", "samples/zarr.json", "samples/00000000/zarr.json", make_commit_key(1))


@pytest.mark.parametrize("key", [*RECORDS, "features/patch/zarr.json", "samples/00000000/id/c/0"])
def test_a_changed_record_is_refused(exported: Path, key: str) -> None:
    with h5py.File(exported, "r+") as file:
        record = file[f"records/{key}"]
        record[len(record) // 2] ^= 1
    refused(exported)


def set_record(file: Path, key: str, **changes: object) -> None:
    """Seal a record anew with other content, as an attacker can."""
    with h5py.File(file, "r+") as target:
        content = unseal(target[f"records/{key}"][:].tobytes())
        del target[f"records/{key}"]
        target[f"records/{key}"] = np.frombuffer(seal({**content, **changes}), np.uint8)


def test_absurd_extents_are_refused_without_memory(exported: Path) -> None:
    for key in ("samples/zarr.json", "samples/00000000/zarr.json"):
        set_record(exported, key, runs=[[0, 9], [(1 << 40) - 1, 1 << 40]])
    refused(exported)


def test_an_absurd_row_count_in_a_commit_is_refused(exported: Path) -> None:
    set_record(exported, "zarr.json", rows_per_shard=1 << 16)
    set_record(exported, "commits/zarr.json", rows_per_shard=1 << 16)
    refused(exported)


def test_records_cannot_name_objects_elsewhere(exported: Path, tmp_path: Path) -> None:
    with h5py.File(exported) as file:
        objects = unseal(file["records/samples/zarr.json"][:].tobytes())["objects"]
    for key in ("samples/zarr.json", "samples/00000000/zarr.json"):
        set_record(exported, key, objects={**objects, "../out": {"bytes": 1, "checksum": ""}})
    before = {path.name for path in tmp_path.iterdir()}
    refused(exported)
    assert {path.name for path in tmp_path.iterdir()} == before


def replaced_by(file: Path, name: str, how: Callable[[h5py.Group, str], object]) -> None:
    """Put something else in the place of a data set."""
    with h5py.File(file, "r+") as target:
        del target[name]
        parent, _, last = name.rpartition("/")
        how(target[parent] if parent else target, last)


@pytest.fixture
def outside(exported: Path) -> Path:
    """A second exported file, equal to the first: what it holds would be accepted."""
    outside = exported.with_name("outside.h5")
    outside.write_bytes(exported.read_bytes())
    return outside


class Opened:
    """Counts how often a file is opened, as the kernel sees it (inotify)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self.descriptor, os.fsencode(path), 0x20) > 0  # IN_OPEN

    def count(self) -> int:
        try:
            return len(os.read(self.descriptor, 4096)) // struct.calcsize("iIII")
        except BlockingIOError:
            return 0


def external_storage(file: Path, group: h5py.Group, name: str) -> None:
    raw = file.with_name("raw.bin")
    raw.write_bytes(bytes(1 << 20))
    group.create_dataset(name, (10, 8, 8, 3), "u1", external=[(str(raw), 0, 1920)])


def virtual(file: Path, group: h5py.Group, name: str, shape: tuple[int, ...], kind: str) -> None:
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource(str(file), f"{group.name}/{name}".replace("//", "/"), shape)
    group.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("name", ["images", "records/zarr.json", "records/commits/00000001"])
def test_external_links_are_not_followed(exported: Path, outside: Path, name: str) -> None:
    replaced_by(
        exported,
        name,
        lambda group, last: group.__setitem__(last, h5py.ExternalLink(outside, name)),
    )
    watch = Opened(outside)
    refused(exported, "links are not followed")
    assert watch.count() == 0
    with h5py.File(exported) as file:
        assert file[name] is not None  # HDF5 itself does follow it
        assert watch.count() > 0


@pytest.mark.parametrize("name", ["images", "features", "records", "records/zarr.json"])
def test_soft_links_are_not_followed(exported: Path, name: str) -> None:
    with h5py.File(exported, "r+") as file:
        file.move(name, "elsewhere")
        file[name] = h5py.SoftLink("/elsewhere")
    refused(exported, "links are not followed")


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [("images", (10, 8, 8, 3), "u1"), ("statistics", (10, 2, 7), "<f4")],
)
def test_virtual_data_sets_are_refused_unread(
    exported: Path, outside: Path, name: str, shape: tuple[int, ...], kind: str
) -> None:
    replaced_by(exported, name, lambda group, last: virtual(outside, group, last, shape, kind))
    watch = Opened(outside)
    refused(exported, "not stored as samcache stores it")
    assert watch.count() == 0


def test_external_storage_is_refused_unread(exported: Path) -> None:
    replaced_by(exported, "images", lambda group, last: external_storage(exported, group, last))
    watch = Opened(exported.with_name("raw.bin"))
    refused(exported, "not stored as samcache stores it")
    assert watch.count() == 0


def test_a_record_in_external_storage_is_refused_unread(exported: Path) -> None:
    raw = exported.with_name("raw.bin")
    with h5py.File(exported) as file:
        raw.write_bytes(file["records/zarr.json"][:].tobytes())
    size = raw.stat().st_size
    replaced_by(
        exported,
        "records/zarr.json",
        lambda group, last: group.create_dataset(
            last, (size,), "u1", external=[(str(raw), 0, size)]
        ),
    )
    watch = Opened(raw)
    refused(exported, "another file")
    assert watch.count() == 0


HOSTILE: dict[str, Callable[[h5py.Group, str], object]] = {
    "text": lambda g, n: g.create_dataset(n, (10, 8, 8, 3), h5py.string_dtype(), chunks=True),
    "ragged": lambda g, n: g.create_dataset(
        n, (10, 8, 8, 3), h5py.vlen_dtype(np.int32), chunks=(1, 8, 8, 3)
    ),
    "references": lambda g, n: g.create_dataset(n, (10, 8, 8, 3), h5py.ref_dtype, chunks=True),
    "compound": lambda g, n: g.create_dataset(
        n, (10, 8, 8, 3), [("a", "u1"), ("b", h5py.string_dtype())], chunks=(1, 8, 8, 3)
    ),
    "opaque": lambda g, n: g.create_dataset(n, (10, 8, 8, 3), "V1", chunks=(1, 8, 8, 3)),
    "wider": lambda g, n: g.create_dataset(
        n, (10, 8, 8, 3), "u2", chunks=(1, 8, 8, 3), fletcher32=True
    ),
    "empty": lambda g, n: g.create_dataset(n, data=h5py.Empty("u1")),
    "scalar": lambda g, n: g.create_dataset(n, data=np.uint8(3)),
    "group": lambda g, n: g.create_group(n),
    "type": lambda g, n: g.__setitem__(n, np.dtype("u1")),
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize(
    "name", ["images", "records/zarr.json", "records/commits/00000000/zarr.json"]
)
def test_data_sets_of_another_make_are_refused(exported: Path, how: str, name: str) -> None:
    replaced_by(exported, name, HOSTILE[how])
    refused(exported, name)


ROW = (1, 4, 6, 6)
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "integers": ("its values are not float16", {"dtype": "u2"}),
    "wider values": ("its values are not float16", {"dtype": "f4"}),
    "opaque values": ("its values are not float16", {"dtype": "V2"}),
    "names": ("its values are not float16", {"dtype": h5py.enum_dtype({"a": 1}, "u2")}),
    "more rows": ("its shape is", {"shape": (1 << 40, *ROW)}),
    "fewer rows": ("its shape is", {"shape": (9, *ROW)}),
    "other maps": ("its shape is", {"shape": (10, 1, 6, 6, 4), "chunks": (1, 1, 6, 6, 4)}),
    "large chunks": ("its chunks or filters", {"chunks": (10, *ROW)}),
    "compression": ("its chunks or filters", {"compression": "gzip"}),
    "no checksums": ("its chunks or filters", {"fletcher32": False}),
}


@pytest.mark.parametrize("how", OTHER)
def test_no_value_is_read_from_an_array_of_another_make(
    exported: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, changes = OTHER[how]
    usual = {"shape": (10, *ROW), "dtype": "f2", "chunks": (1, *ROW), "fletcher32": True}
    replaced_by(
        exported,
        "features/patch",  # the array that is read first
        lambda group, last: group.create_dataset(last, **{**usual, **changes}),
    )
    monkeypatch.delattr(h5py.Dataset, "read_direct")
    refused(exported, message)


def test_a_commit_that_claims_more_than_the_file_holds_allocates_nothing(tmp_path: Path) -> None:
    rows = 1 << 16
    store = create(tmp_path / "s.zarr", rows, rows)
    present = np.ones(rows, np.bool_)
    objects = {
        spec.make_key(0): ObjectRecord(count_shard_bytes(present, spec.row_bytes), "0" * 32)
        for spec in store.arrays.values()
    }
    export_store(store, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        record = Commit(0, (0, rows), objects, ("",) * rows).to_bytes()
        file[f"records/{make_commit_key(0)}"] = np.frombuffer(record, np.uint8)
    refused(tmp_path / "s.h5", "claims more bytes than the file has")


def test_an_absurd_record_is_refused_without_memory(exported: Path) -> None:
    replaced_by(
        exported,
        "records/zarr.json",
        lambda group, last: group.create_dataset(last, (1 << 50,), "u1"),
    )
    refused(exported, "its shape is")


def test_groups_that_hold_themselves_are_no_trap(exported: Path) -> None:
    with h5py.File(exported, "r+") as file:
        file["records/records"] = file["records"]
        file["records/commits/zzz"] = file["records"]
    refused(exported, "'zzz' is not a shard")
