"""A remote store is brought to the local disk once."""

import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faulty_objects import BreakingFolder, flip
from stages import stage_it, stages
from store_content import content, full_store, samples, uncommit

from samcache.cache.care import stage
from samcache.cache.care.stage import find_stage_folder, stage_store
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key
from samcache.cache.objects.bucket import BucketObjects
from samcache.cache.store import Store

FEATURE = "features/patch/c/1/0/0/0/0"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys that are read from the other side; folders have a ``get`` of their own."""
    keys: list[str] = []
    get = BucketObjects.get

    def note(self: BucketObjects, key: str, largest: int | None = None) -> bytes:
        keys.append(key)
        return get(self, key, largest)

    monkeypatch.setattr(BucketObjects, "get", note)
    return keys


def test_a_local_store_is_used_where_it_is(tmp_path: Path, stage_root: Path) -> None:
    store = full_store(tmp_path / "store.zarr")
    assert stage_store(store) is store
    assert not stage_root.exists()


def test_the_second_run_reads_no_shard_and_no_commit(
    s3: str,
    stage_root: Path,
    requests: list[str],
) -> None:
    remote = full_store(f"{s3}/store.zarr")
    local, said = stage_it(remote.location)
    assert f"staging {s3}/store.zarr (6.6 kB) in {local.location} for later runs" in said
    assert Path(local.location).parent == stage_root
    np.testing.assert_array_equal(local.read_images(0, 10), remote.read_images(0, 10))
    requests.clear()
    again, said = stage_it(remote.location)
    assert again.location == local.location
    assert said == f"using the staged copy of {s3}/store.zarr\n"
    assert [key for key in requests if not key.startswith(("zarr.json", "samples"))] == []


def test_a_store_behind_a_web_server_is_asked_only_for_what_is_not_here(
    tmp_path: Path,
    web: str,
    requests: list[str],
) -> None:
    uncommit(full_store(tmp_path / "store.zarr"), 1)
    local, _ = stage_it(f"{web}/store.zarr")
    assert local.list_committed() == [0, 2]
    requests.clear()
    _, said = stage_it(f"{web}/store.zarr")
    assert said.startswith("using the staged copy")
    assert [key for key in requests if key.startswith("commits")] == [make_commit_key(1)]


def test_only_what_the_store_has_gained_is_staged_again(
    s3: str,
    requests: list[str],
) -> None:
    remote = full_store(f"{s3}/store.zarr")
    stage_it(remote.location)
    new = samples(14)[10:].assign(row=range(12, 16))
    grown = add_generation(remote, pd.concat([remote.table, new], ignore_index=True))
    assert commit_shard(grown, 3, content(grown, 3))
    requests.clear()
    local, _ = stage_it(remote.location)
    assert local.list_committed() == [0, 1, 2, 3]
    assert len(local.samples) == 14
    assert {key.split("/c/")[1][0] for key in requests if "/c/" in key and key[0] == "f"} == {"3"}


def test_a_table_that_was_relabelled_is_staged_again(s3: str) -> None:
    remote = full_store(f"{s3}/store.zarr")
    stage_it(remote.location)
    add_generation(remote, remote.table.assign(label=1))
    local, said = stage_it(remote.location)
    assert said.startswith("staging")
    assert set(local.table["label"]) == {1}
    assert stage_it(remote.location)[1].startswith("using")


def test_stores_of_one_encoder_get_folders_of_their_own(
    tmp_path: Path,
    web: str,
    stage_root: Path,
) -> None:
    for name in ("one", "two"):
        full_store(tmp_path / f"{name}.zarr")
    folders = {stage_it(f"{web}/{name}.zarr")[0].location for name in ("one", "two")}
    assert len(folders) == 2
    assert len({Path(folder).name.partition("-")[0] for folder in folders}) == 1
    assert stage_it(f"{web}/one.zarr/")[0].location in folders
    assert len(stages(stage_root)) == 2


def test_stages_lie_in_the_users_cache_folder(
    tmp_path: Path,
    web: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "store.zarr")
    store = Store(f"{web}/store.zarr")
    monkeypatch.delenv("SAMCACHE_STAGE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert find_stage_folder(store).parent == tmp_path / "xdg/samcache/stage"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_stage_folder(store).parent == tmp_path / ".cache/samcache/stage"


@pytest.mark.parametrize("writes", [1, 17, 24, 31])
def test_an_interrupted_staging_goes_on(
    tmp_path: Path,
    web: str,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    source = full_store(tmp_path / "store.zarr")
    with monkeypatch.context() as within:
        within.setattr(stage, "open_objects", lambda path: BreakingFolder(path, writes))
        with pytest.raises(StoreError, match="cut off"):
            stage_it(f"{web}/store.zarr")
    local, _ = stage_it(f"{web}/store.zarr")
    np.testing.assert_array_equal(local.read_images(0, 10), source.read_images(0, 10))


def test_what_was_cleaned_away_or_damaged_in_a_stage_is_brought_again(
    tmp_path: Path,
    web: str,
) -> None:
    source = full_store(tmp_path / "store.zarr")
    local, _ = stage_it(f"{web}/store.zarr")
    folder = Path(local.location)
    (folder / FEATURE).unlink()
    flip(folder / make_commit_key(2))
    again, said = stage_it(f"{web}/store.zarr")
    assert said.startswith("staging")
    np.testing.assert_array_equal(
        again.read_features("patch", 0, 10), source.read_features("patch", 0, 10)
    )
    assert again.list_committed() == [0, 1, 2]


def test_a_damaged_source_is_refused(tmp_path: Path, web: str) -> None:
    full_store(tmp_path / "store.zarr")
    flip(tmp_path / "store.zarr" / FEATURE)
    with pytest.raises(StoreError, match=rf"1 object is damaged \({FEATURE} is damaged\)"):
        stage_it(f"{web}/store.zarr")


def test_of_two_processes_one_stages_and_the_other_waits(
    tmp_path: Path,
    web: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "store.zarr")
    real, begun = stage._copy, threading.Event()

    def slowly(*arguments: object) -> None:
        begun.set()
        time.sleep(0.3)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "_copy", slowly)
    results: list[tuple[Store, str]] = []
    first = threading.Thread(target=lambda: results.append(stage_it(f"{web}/store.zarr")))
    first.start()
    assert begun.wait(10)
    store, said = stage_it(f"{web}/store.zarr")
    first.join()
    assert said.startswith("another process is staging: waiting for it\nusing the staged copy of")
    assert results[0][1].startswith("staging")
    assert results[0][0].location == store.location


def test_a_stage_that_is_in_use_can_gain_shards(tmp_path: Path, web: str) -> None:
    store = full_store(tmp_path / "store.zarr")
    record = store.objects.get(make_commit_key(1))
    store.objects.delete([make_commit_key(1)])
    in_use, _ = stage_it(f"{web}/store.zarr")
    store.objects.put(make_commit_key(1), record)
    local, _ = stage_it(f"{web}/store.zarr")
    assert (in_use.list_committed(), local.list_committed()) == ([0, 1, 2], [0, 1, 2])


def test_a_folder_that_cannot_be_used_is_named_with_its_variable(
    tmp_path: Path,
    web: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "store.zarr")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAMCACHE_STAGE", str(tmp_path / "file" / "stage"))
    with pytest.raises(StoreError, match="set SAMCACHE_STAGE to another folder"):
        stage_it(f"{web}/store.zarr")
