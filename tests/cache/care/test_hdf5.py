"""A store becomes one HDF5 file and comes back bit for bit, whatever interrupts it."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import content, create, everything, full_store

from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.commit import commit_shard, encode_content
from samcache.cache.create import add_generation
from samcache.cache.errors import StoreError
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.store import Store


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A full store, and the file that it was exported to."""
    export_store(full_store(tmp_path / "s.zarr"), tmp_path / "s.h5")
    return tmp_path / "s.h5"


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 12),
    per_shard=st.integers(1, 5),
    failed=st.sets(st.integers(0, 11)),
    holes=st.sets(st.integers(0, 11)),
    committed=st.sets(st.integers(0, 11)),
)
def test_any_store_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    per_shard: int,
    failed: set[int],
    holes: set[int],
    committed: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("h")
    store = create(folder / "s.zarr", rows, per_shard)
    for shard in committed & set(range(store.layout.shards)):
        mine = set(range(*store.layout.find_rows(shard)))
        failures = {row: f"row {row}: \0 \udc80 é" for row in sorted(mine & failed)}
        empty = tuple(sorted((mine & holes) - failed))
        commit_shard(store, shard, content(store, shard, failures=failures, holes=empty))
    store = Store(store.location)
    export_store(store, folder / "s.h5")
    again = import_store(folder / "s.h5", folder / "t.zarr")
    assert everything(again) == everything(store)
    assert again.list_pending() == store.list_pending()
    pd.testing.assert_frame_equal(again.samples, store.samples)


def test_later_generations_and_rows_that_nobody_uses_come_back(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    kept = store.table.drop(index=[1, 5]).reset_index(drop=True)
    fresh = kept.iloc[:3].assign(id=["x", "y", "z"], row=[12, 13, 14])
    store = add_generation(store, pd.concat([kept, fresh], ignore_index=True))
    commit_shard(store, 3, content(store, 3))
    store = Store(store.location)
    export_store(store, tmp_path / "s.h5")
    again = import_store(tmp_path / "s.h5", tmp_path / "t.zarr")
    pd.testing.assert_frame_equal(again.samples, store.samples)
    before = everything(store)
    assert everything(again) == {
        key: data for key, data in before.items() if not key.startswith("samples/00000000/")
    }


def test_the_file_is_plain_hdf5_for_everyone_else(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    commit_shard(store, 0, content(store, 0, failures={2: "torn"}))
    store = Store(store.location)
    export_store(store, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        patch = file["features/patch"]
        np.testing.assert_array_equal(patch[:], store.read_features("patch", 0, 10))
        np.testing.assert_array_equal(file["images"][:], store.read_images(0, 10))
        assert patch.chunks == (1, *patch.shape[1:])
        assert patch.fletcher32
        assert patch.id.get_num_chunks() == 3  # rows without data take no space
        assert [axis.label for axis in patch.dims] == ["sample", "view", "channel", "y", "x"]
        for column in ("id", "split", "group", "status", "reason", "sha256"):
            assert list(file["samples"][column].asstr()) == list(store.samples[column])
        for column in ("label", "row"):
            assert list(file["samples"][column]) == list(store.samples[column])
        assert list(file["classes"].asstr()) == ["a", "b"]
        assert file["records/zarr.json"][:].tobytes() == store.objects.get("zarr.json")


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    (tmp_path / "s.h5").write_text("mine")
    with pytest.raises(StoreError, match="already exists"):
        export_store(store, tmp_path / "s.h5")
    (tmp_path / "dangling.h5").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="already exists"):
        export_store(store, tmp_path / "dangling.h5")
    assert (tmp_path / "s.h5").read_text() == "mine"


def test_a_file_that_appears_during_the_export_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = full_store(tmp_path / "s.zarr"), Store.read

    def slow(self: Store, path: str, start: int, stop: int) -> object:
        (tmp_path / "s.h5").write_text("theirs")
        return read(self, path, start, stop)

    monkeypatch.setattr(Store, "read", slow)
    with pytest.raises(StoreError, match="already exists"):
        export_store(store, tmp_path / "s.h5")
    assert (tmp_path / "s.h5").read_text() == "theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"s.zarr", "s.h5"}


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    damaged = tmp_path / "s.zarr" / "features/patch/c/1/0/0/0/0"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with pytest.raises(StoreError, match="features/patch"):
        export_store(store, tmp_path / "s.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]
    with pytest.raises(StoreError, match="is not a folder"):
        export_store(store, tmp_path / "missing" / "s.h5")


def test_a_valid_object_that_was_never_committed_is_not_exported(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    _, others = encode_content(store, 1, content(store, 1, seed=9))
    (tmp_path / "s.zarr/images/c/1/0/0/0").write_bytes(others["images/c/1/0/0/0"])
    with pytest.raises(StoreError, match="images/c/1/0/0/0: it is not the object"):
        export_store(store, tmp_path / "s.h5")


def test_an_interrupted_import_lacks_shards_and_goes_on(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_object = FolderObjects.create

    def dies(self: FolderObjects, key: str, data: bytes) -> bool:
        if key.startswith("statistics/c/1/"):
            raise KeyboardInterrupt
        return create_object(self, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(FolderObjects, "create", dies)
        with pytest.raises(KeyboardInterrupt):
            import_store(exported, tmp_path / "t.zarr")
    assert Store(tmp_path / "t.zarr").list_pending() == [1, 2]
    again = import_store(exported, tmp_path / "t.zarr")
    assert everything(again) == everything(Store(tmp_path / "s.zarr"))


def test_an_import_cut_off_before_the_root_record_is_no_store_and_goes_on(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_object = FolderObjects.create

    def dies(self: FolderObjects, key: str, data: bytes) -> bool:
        if key == "zarr.json":
            raise KeyboardInterrupt
        return create_object(self, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(FolderObjects, "create", dies)
        with pytest.raises(KeyboardInterrupt):
            import_store(exported, tmp_path / "t.zarr")
    with pytest.raises(StoreError, match="no store"):
        Store(tmp_path / "t.zarr")
    again = import_store(exported, tmp_path / "t.zarr")
    assert everything(again) == everything(Store(tmp_path / "s.zarr"))


def test_importing_again_changes_nothing(exported: Path, tmp_path: Path) -> None:
    before = everything(import_store(exported, tmp_path / "t.zarr"))
    assert everything(import_store(exported, tmp_path / "t.zarr")) == before


def test_another_store_in_the_way_is_left_alone(exported: Path, tmp_path: Path) -> None:
    other = full_store(tmp_path / "other.zarr", rows=9)
    before = everything(other)
    with pytest.raises(StoreError, match="holds another store"):
        import_store(exported, tmp_path / "other.zarr")
    assert everything(other) == before


def test_what_is_left_of_another_store_is_not_filled(exported: Path, tmp_path: Path) -> None:
    other = full_store(tmp_path / "other.zarr", rows=9)
    (tmp_path / "other.zarr" / "zarr.json").unlink()
    before = everything(other)
    with pytest.raises(StoreError, match="what is left of another store"):
        import_store(exported, tmp_path / "other.zarr")
    assert everything(other) == before


def test_a_shard_of_another_run_is_left_alone(exported: Path, tmp_path: Path) -> None:
    other = create(tmp_path / "t.zarr")
    commit_shard(other, 0, content(other, 0, seed=5))
    before = everything(other)
    with pytest.raises(StoreError, match="shard 0 was written by another run"):
        import_store(exported, tmp_path / "t.zarr")
    assert everything(other) == before


def test_a_folder_that_is_no_store_is_left_alone(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(StoreError, match=r"holds cat\.jpg"):
        import_store(exported, tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_buckets_are_exported_and_imported(s3: str, tmp_path: Path) -> None:
    store = full_store(f"{s3}/s.zarr")
    export_store(store, tmp_path / "s.h5")
    assert everything(import_store(tmp_path / "s.h5", f"{s3}/t.zarr")) == everything(store)
