"""Rows read alone, in any order: the same numbers as whole shards, and every damage found."""

from pathlib import Path

import numpy as np
import pytest
from store_content import content, create, full_store

from samcache.cache.commit import commit_shard
from samcache.cache.errors import StoreError
from samcache.cache.rows import RowReader
from samcache.cache.store import Store

ORDER = np.array([9, 0, 5, 3, 3, 8])


def agree(store: Store) -> None:
    found = RowReader(store, list(store.arrays)).read(ORDER)
    assert list(found) == list(store.arrays)
    for path, values in found.items():
        np.testing.assert_array_equal(values, store.read(path, 0, store.layout.rows)[ORDER])


def test_rows_in_any_order_are_those_of_the_shards(tmp_path: Path) -> None:
    agree(full_store(tmp_path / "s.zarr"))


def test_rows_come_from_a_bucket_as_from_a_folder(s3: str) -> None:
    agree(full_store(f"{s3}/s.zarr"))


def test_rows_without_data_are_zeros(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    assert commit_shard(store, 1, content(store, 1, failures={5: "cut short"}, holes=(6,)))
    opened = Store(tmp_path / "s.zarr")

    found = RowReader(opened, ["features/neck"]).read(np.array([7, 6, 5, 4, 0]))["features/neck"]

    whole = opened.read("features/neck", 0, 10)
    np.testing.assert_array_equal(found, whole[[7, 6, 5, 4, 0]])
    assert found[[0, 3]].all()
    assert not found[[1, 2, 4]].any()


def damaged(store: Store, row: int) -> Path:
    """Flip a bit of a row's neck, in a store with every row present."""
    spec = store.arrays["features/neck"]
    path = Path(store.location) / spec.make_key(row // 4)
    data = bytearray(path.read_bytes())
    data[row % 4 * (spec.row_bytes + 4) + 5] ^= 1
    path.write_bytes(data)
    return path


def test_a_flipped_bit_is_an_error_for_its_own_row_alone(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    expected = store.read("features/neck", 0, 10)
    damaged(store, 5)
    reader = RowReader(store, ["features/neck"])

    with pytest.raises(StoreError, match=r"checksums do not match in 1 row.*repair restores it"):
        reader.read(np.array([0, 5]))
    found = reader.read(np.array([4, 6, 7, 0]))["features/neck"]
    np.testing.assert_array_equal(found, expected[[4, 6, 7, 0]])


def test_an_object_that_is_short_or_gone_is_an_error(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    reader, path = RowReader(store, ["features/neck"]), damaged(store, 5)

    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(StoreError, match="bytes too early"):
        reader.read(np.array([7]))
    path.unlink()
    with pytest.raises(StoreError, match="is missing"):
        reader.read(np.array([7]))


@pytest.mark.parametrize("row", [-1, 10])
def test_rows_that_do_not_exist_are_refused(tmp_path: Path, row: int) -> None:
    reader = RowReader(full_store(tmp_path / "s.zarr"), ["features/neck"])

    with pytest.raises(IndexError, match="of 10"):
        reader.read(np.array([0, row]))


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")

    assert (
        RowReader(store, ["features/neck"]).read(np.array([], int))["features/neck"].shape[0] == 0
    )
