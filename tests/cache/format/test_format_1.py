"""A store that an older version wrote: no spares, no checksums of rows, no table in the root."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_content import content, samples

from samcache.cache.care.copy import copy_store
from samcache.cache.care.damage.restore import write_spares
from samcache.cache.care.gc import find_garbage
from samcache.cache.care.merge import merge_stores
from samcache.cache.care.verify import verify
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key, make_spare_key
from samcache.cache.rows import RowReader
from samcache.cache.store import Store

HASHES = {  # of rows 0 to 14, as that version read them
    "features/patch": "c5b51ab1c4229a48",
    "features/neck": "55ec15bd23779b8e",
    "images": "ad0f8320330182d4",
    "statistics": "c4d98f839928ed97",
}
ROWS = np.array([14, 1, 9, 4, 2, 12])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Thirteen samples in four shards and two generations; row 13 could not be read."""
    with zipfile.ZipFile(Path(__file__).with_name("format_1.zip")) as file:
        file.extractall(tmp_path)
    return Store(tmp_path / "format_1.zarr")


def check_content(store: Store) -> None:
    """Every row is what the older version read, in whole shards and alone."""
    assert verify(store) == []
    reader = RowReader(store, list(store.arrays))
    for path, rows in reader.read(ROWS).items():
        whole = store.read(path, 0, 15)
        assert hashlib.sha256(whole.tobytes()).hexdigest()[:16] == HASHES[path]
        np.testing.assert_array_equal(rows, whole[ROWS])


def test_it_is_read_as_before(store: Store) -> None:
    check_content(store)
    assert list(store.table["id"]) == list(samples(13)["id"][1:])
    assert list(store.samples["status"]).count("unreadable") == 1
    assert store.read_moments()["patch"].count > 0
    assert find_garbage(store) != [], "its first table was superseded"


def test_an_exchanged_object_is_refused(store: Store) -> None:
    folder = Path(store.location)
    first, second = (folder / f"features/neck/c/{shard}/0/0/0/0" for shard in (0, 1))
    kept = first.read_bytes()
    shutil.copyfile(second, first)
    second.write_bytes(kept)
    with pytest.raises(StoreError, match="not the object that was committed"):
        store.read_features("neck", 0, 4)
    with pytest.raises(StoreError, match="not the object that was committed"):
        RowReader(store, ["features/neck"]).read(np.array([5]))
    assert {folder / one.key for one in verify(store)} == {first, second}


def test_it_gains_spares_grows_and_is_copied_and_merged(store: Store, tmp_path: Path) -> None:
    write_spares(store)
    for shard in store.list_committed():
        assert store.objects.get(make_spare_key(shard)) == store.objects.get(make_commit_key(shard))
    fresh = samples(14)[13:].assign(row=16)
    grown = add_generation(store, pd.concat([store.table, fresh], ignore_index=True))
    assert commit_shard(grown, 4, content(grown, 4))
    check_content(Store(store.location))
    copy_store(grown, tmp_path / "copy.zarr")
    check_content(Store(tmp_path / "copy.zarr"))
    merged = merge_stores([Store(store.location)], tmp_path / "merged.zarr", False)
    assert verify(merged) == []
    assert list(merged.table["id"]) == list(grown.table["id"])
