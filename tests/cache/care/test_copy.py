"""A copy is the source bit for bit, and what cannot be copied is said."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from copies import FEATURE, copy, copy_into, grow, tree
from faulty_objects import BreakingFolder, FlippingFolder, flip
from servers import Failing
from store_content import IDENTITY, content, create, full_store, uncommit

from samcache.cache.care.transfer.table import copy_table
from samcache.cache.claims import Claims
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key, make_shard_name
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.commands.show.stores import describe_copy


def test_a_copy_of_a_copy_through_a_bucket_is_the_source_bit_for_bit(
    tmp_path: Path,
    s3: str,
) -> None:
    full_store(tmp_path / "source.zarr")
    to_bucket = copy(tmp_path / "source.zarr", f"{s3}/deep/copy.zarr")
    back = copy(Store(f"{s3}/deep/copy.zarr"), tmp_path / "back.zarr")
    assert tree(tmp_path / "back.zarr") == tree(tmp_path / "source.zarr")
    assert (to_bucket.shards, to_bucket.damaged) == (back.shards, back.damaged) == (3, {})


@pytest.mark.parametrize("seed", [1, 2])
def test_a_copy_arrives_over_a_network_that_fails_often(
    tmp_path: Path, s3: str, failing: Failing, seed: int
) -> None:
    full_store(tmp_path / "source.zarr")
    proxy = failing(0.15, seed)
    assert copy(tmp_path / "source.zarr", f"{s3}/copy.zarr").damaged == {}
    assert copy(Store(f"{s3}/copy.zarr"), tmp_path / "back.zarr").damaged == {}
    assert tree(tmp_path / "back.zarr") == tree(tmp_path / "source.zarr")
    assert sum(proxy.counts.values()) > proxy.counts["pass"] > 0


def test_a_store_behind_a_web_server_is_copied_bit_for_bit(
    tmp_path: Path,
    web: str,
) -> None:
    store = full_store(tmp_path / "source.zarr")
    uncommit(store, 1)
    summary = copy(Store(f"{web}/source.zarr"), tmp_path / "copy.zarr")
    copied = Store(tmp_path / "copy.zarr")
    assert copied.list_committed() == [0, 2]
    assert (summary.shards, summary.standing) == (2, 0)
    np.testing.assert_array_equal(copied.read_images(0, 4), store.read_images(0, 4))
    assert copy(Store(f"{web}/source.zarr"), tmp_path / "copy.zarr").standing == 2


def test_what_is_not_committed_is_not_copied(tmp_path: Path) -> None:
    store = full_store(tmp_path / "source.zarr")
    with Claims(store.objects) as claims:
        claims.take(make_shard_name(2))
        uncommit(store, 2)
        store.objects.put("features/neck/c/9/0/0/0/0", b"left over")
        copy(tmp_path / "source.zarr", tmp_path / "copy.zarr")
    copied = tree(tmp_path / "copy.zarr")
    assert not [key for key in copied if "/c/2/" in key or "/c/9/" in key]
    assert [key for key in copied if key.startswith("claims")] == ["claims/zarr.json"]


def test_claims_that_are_given_up_leave_nothing_that_zarr_warns_of(tmp_path: Path) -> None:
    full_store(tmp_path / "source.zarr")
    copy(tmp_path / "source.zarr", tmp_path / "copy.zarr")
    assert list((tmp_path / "copy.zarr" / "claims").iterdir()) == [
        tmp_path / "copy.zarr" / "claims" / "zarr.json"
    ]
    group = zarr.open_group(tmp_path / "copy.zarr", mode="r")
    assert len(list(group.members(max_depth=None))) > 5  # every warning is an error here


def test_copying_again_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_store(tmp_path / "source.zarr")
    copy(tmp_path / "source.zarr", tmp_path / "copy.zarr")
    refusing = BreakingFolder(tmp_path / "copy.zarr", writes=0)
    summary = copy_into(refusing, tmp_path / "source.zarr", monkeypatch)
    assert (summary.shards, summary.standing, summary.bytes) == (0, 3, 0)


def test_damage_at_the_source_is_listed_and_holds_nothing_else_back(tmp_path: Path) -> None:
    store = full_store(tmp_path / "source.zarr")
    flip(tmp_path / "source.zarr" / FEATURE)
    (tmp_path / "source.zarr" / "images/c/1/0/0/0").unlink()
    flip(tmp_path / "source.zarr" / make_commit_key(2))
    summary = copy(store, tmp_path / "copy.zarr")
    copied = Store(tmp_path / "copy.zarr")
    assert set(summary.damaged) == {FEATURE, "images/c/1/0/0/0", make_commit_key(2)}
    assert summary.damaged["images/c/1/0/0/0"] == "is missing"
    assert copied.list_committed() == [0]
    assert not [key for key in tree(tmp_path / "copy.zarr") if "/c/1/" in key or "/c/2/" in key]
    assert FEATURE in describe_copy(summary)


def test_what_was_sent_of_a_shard_before_its_damage_was_found_is_taken_back(
    tmp_path: Path,
) -> None:
    store = full_store(tmp_path / "source.zarr")
    (tmp_path / "source.zarr" / "statistics/c/1/0/0").unlink()  # the last of its objects
    summary = copy(store, tmp_path / "copy.zarr")
    assert summary.damaged == {"statistics/c/1/0/0": "is missing"}
    assert not [key for key in tree(tmp_path / "copy.zarr") if "/c/1/" in key]


def test_an_object_larger_than_its_record_is_damaged(tmp_path: Path) -> None:
    store = full_store(tmp_path / "source.zarr")
    with (tmp_path / "source.zarr" / FEATURE).open("ab") as file:
        file.write(b"more")
    assert copy(store, tmp_path / "copy.zarr").damaged == {FEATURE: "is damaged"}


@pytest.mark.parametrize(
    "prefix", ["features/neck/c", "commits/00000001", "samples/00000000", "zarr"]
)
def test_a_bit_flipped_on_arrival_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    full_store(tmp_path / "source.zarr")
    folder = FlippingFolder(tmp_path / "copy.zarr", prefix, writes=2)
    summary = copy_into(folder, tmp_path / "source.zarr", monkeypatch)
    assert summary.damaged == {}
    assert tree(tmp_path / "copy.zarr") == tree(tmp_path / "source.zarr")


def test_a_bit_flipped_on_every_arrival_is_reported_and_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_store(tmp_path / "source.zarr")
    folder = FlippingFolder(tmp_path / "copy.zarr", FEATURE, writes=99)
    summary = copy_into(folder, tmp_path / "source.zarr", monkeypatch)
    assert summary.damaged == {FEATURE: "arrived with other bytes than were sent"}
    assert Store(tmp_path / "copy.zarr").list_committed() == [0, 2]
    assert not (tmp_path / "copy.zarr" / FEATURE).exists()


def test_a_bit_flipped_as_the_source_is_read_is_read_again(tmp_path: Path) -> None:
    full_store(tmp_path / "source.zarr")
    path = tmp_path / "source.zarr"
    source = Store(path, FlippingFolder(path, FEATURE, reads=1))
    assert copy(source, tmp_path / "copy.zarr").damaged == {}
    assert tree(tmp_path / "copy.zarr") == tree(path)


def test_copying_again_brings_what_the_source_has_gained(tmp_path: Path) -> None:
    source = tmp_path / "source.zarr"
    full_store(source)
    copy(source, tmp_path / "copy.zarr")
    grown = grow(source)
    summary = copy(source, tmp_path / "copy.zarr")
    assert (summary.shards, summary.standing) == (1, 3)
    assert tree(tmp_path / "copy.zarr") == tree(source)
    pd.testing.assert_frame_equal(Store(tmp_path / "copy.zarr").samples, grown.samples)


def test_a_destination_that_has_grown_keeps_its_table(tmp_path: Path) -> None:
    old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
    store = full_store(old)
    copy(old, new)
    grow(new)
    before = tree(new)
    uncommit(Store(new), 1)
    assert copy(store, new).shards == 1
    assert Store(new).generation.number == 1
    assert tree(new) == before


def test_an_older_table_that_is_damaged_is_listed_and_the_newest_copied(tmp_path: Path) -> None:
    source = tmp_path / "source.zarr"
    full_store(source)
    grow(source)
    flip(source / "samples/00000000/id/c/0")
    summary = copy(source, tmp_path / "copy.zarr")
    assert summary.damaged == {"samples/00000000/id/c/0": "is damaged"}
    pd.testing.assert_frame_equal(Store(tmp_path / "copy.zarr").samples, Store(source).samples)


def test_a_newest_table_that_is_damaged_refuses_the_copy(tmp_path: Path) -> None:
    full_store(tmp_path / "source.zarr")
    flip(tmp_path / "source.zarr" / "samples/00000000/id/c/0")
    with pytest.raises(StoreError, match=r"samples/00000000/id/c/0 is damaged: run samcache"):
        copy(tmp_path / "source.zarr", tmp_path / "copy.zarr")
    assert not (tmp_path / "copy.zarr" / "zarr.json").exists()


def test_another_store_at_the_destination_is_refused_by_the_field_that_differs(
    tmp_path: Path,
) -> None:
    source = full_store(tmp_path / "source.zarr")
    create(tmp_path / "other.zarr", identity=type(IDENTITY)(**{**vars(IDENTITY), "pool": 2}))
    before = tree(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match=r"its pool is 2, the source's 1\): choose another"):
        copy(source, tmp_path / "other.zarr")
    (tmp_path / "other.zarr" / "zarr.json").unlink()  # its creation might still be going on
    with pytest.raises(StoreError, match="its pool is 2"):
        copy(source, tmp_path / "other.zarr")
    assert tree(tmp_path / "other.zarr") == {k: v for k, v in before.items() if k != "zarr.json"}


def test_another_table_of_the_same_number_is_refused(tmp_path: Path) -> None:
    source, other = tmp_path / "source.zarr", tmp_path / "other.zarr"
    full_store(source)
    copy(source, other)
    grow(source)
    add_generation(Store(other), Store(other).table.assign(label=1))
    with pytest.raises(StoreError, match=r"sample table 1 of .* \(10 samples in the store, 13"):
        copy(source, other)


def test_a_folder_of_other_things_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = full_store(tmp_path / "source.zarr")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    refusing = BreakingFolder(tmp_path / "other", writes=0)  # not even a claim is written
    with pytest.raises(StoreError, match=r"thesis.txt, and is not a samcache store"):
        copy_into(refusing, Path(source.location), monkeypatch)
    assert tree(tmp_path / "other") == {"thesis.txt": b"mine"}


def test_a_web_server_cannot_be_written_to(tmp_path: Path, web: str) -> None:
    source = full_store(tmp_path / "source.zarr")
    with pytest.raises(StoreError, match="read-only"):
        copy(source, f"{web}/copy.zarr")


def test_another_commit_of_a_shard_at_the_destination_is_reported_and_kept(tmp_path: Path) -> None:
    source = full_store(tmp_path / "source.zarr")
    other = tmp_path / "other.zarr"
    copy_table(source, open_objects(other))
    commit_shard(Store(other), 1, content(source, 1, seed=5))
    before = tree(other)
    summary = copy(source, other)
    assert "differs at the destination" in summary.damaged[make_commit_key(1)]
    after = tree(other)
    assert {key: after[key] for key in before} == before
    assert Store(other).list_committed() == [0, 1, 2]


def test_the_same_shard_encoded_at_another_time_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = full_store(tmp_path / "source.zarr")
    other = tmp_path / "other.zarr"
    copy_table(source, open_objects(other))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    commit_shard(Store(other), 1, content(source, 1))
    monkeypatch.undo()
    summary = copy(source, other)
    assert (summary.standing, summary.damaged) == (1, {})


def test_objects_that_a_committed_shard_of_the_destination_lost_come_back(tmp_path: Path) -> None:
    source = full_store(tmp_path / "source.zarr")
    copy(source, tmp_path / "copy.zarr")
    (tmp_path / "copy.zarr" / FEATURE).unlink()
    (tmp_path / "copy.zarr" / "images/c/0/0/0/0").write_bytes(b"short")
    assert copy(source, tmp_path / "copy.zarr").shards == 2
    assert tree(tmp_path / "copy.zarr") == tree(tmp_path / "source.zarr")
