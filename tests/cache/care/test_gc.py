"""Garbage is what no record refers to; what is committed, claimed or not ours is never removed."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import content, create, everything, full_store, uncommit

from samcache.cache.care.gc import collect, find_garbage
from samcache.cache.claims import Claims, make_claim_key
from samcache.cache.commit import commit_shard, encode_content
from samcache.cache.create import TABLE, add_generation
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key, make_shard_name, make_spare_key
from samcache.cache.format.records import seal
from samcache.cache.objects.base import Objects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.commands.show.stores import describe_garbage, list_garbage


def uncommitted(path: Path, shard: int = 1) -> Store:
    """A full store but for one commit record: its objects are what a dead writer left."""
    uncommit(full_store(path), shard)
    return Store(path)


def dead_claim(store: Store, name: str) -> str:
    """Leave a claim behind as a process that was killed does."""
    with Claims(store.objects) as claims:
        claim = claims.take(name)
        assert claim is not None
    dead = replace(claim.record, process=2**22 + 1)  # beyond the highest number a process can have
    store.objects.put(make_claim_key(name, dead.attempt), seal(asdict(dead)))
    return make_claim_key(name, dead.attempt)


def test_a_sound_store_has_no_garbage(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    assert find_garbage(store) == []
    assert describe_garbage([]) == "nothing to collect"
    assert find_garbage(create(tmp_path / "e")) == []


def test_objects_without_a_commit_record_are_removed_and_nothing_else(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    keys = {spec.make_key(1) for spec in store.arrays.values()}
    before = everything(store)
    garbage = find_garbage(store)
    assert everything(store) == before
    assert {one.key: one.bytes for one in garbage} == {key: len(before[key]) for key in keys}
    assert {one.key for one in collect(store, garbage)} == keys
    assert everything(store) == {key: before[key] for key in before if key not in keys}
    assert find_garbage(store) == []
    assert commit_shard(store, 1, content(store, 1))
    assert everything(store).keys() == before.keys() | {make_commit_key(1), make_spare_key(1)}


@settings(max_examples=20, deadline=None)
@given(
    committed=st.sets(st.integers(0, 3)),
    begun=st.sets(st.integers(0, 3)),
    claimed=st.sets(st.integers(0, 3)),
)
def test_every_committed_or_claimed_shard_survives(
    tmp_path_factory: pytest.TempPathFactory,
    committed: set[int],
    begun: set[int],
    claimed: set[int],
) -> None:
    store = create(tmp_path_factory.mktemp("g") / "s", rows=16)
    for shard in committed:
        assert commit_shard(store, shard, content(store, shard))
    for shard in begun - committed:
        for key, data in encode_content(store, shard, content(store, shard))[1].items():
            store.objects.put(key, data)
    with Claims(store.objects) as claims:
        for shard in claimed:
            assert claims.take(make_shard_name(shard))
        before = everything(store)
        collect(store, find_garbage(store))
        gone = before.keys() - everything(store).keys()
    expected = begun - committed - claimed
    assert gone == {spec.make_key(shard) for shard in expected for spec in store.arrays.values()}
    again = Store(store.location)
    for shard in committed:
        again.read_images(*again.layout.find_rows(shard))


def test_a_damaged_commit_record_keeps_its_objects(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    (tmp_path / "s" / make_commit_key(1)).write_bytes(b"torn")
    assert find_garbage(store) == []


def test_what_is_committed_after_it_was_found_survives(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    garbage = find_garbage(store)
    assert commit_shard(store, 1, content(store, 1))
    before = everything(store)
    assert collect(store, garbage) == []
    assert everything(store) == before


def test_what_is_committed_at_the_last_moment_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = uncommitted(tmp_path / "s")
    garbage, take = find_garbage(store), Claims.take

    def slow(self: Claims, name: str) -> object:
        assert commit_shard(store, 1, content(store, 1))
        return take(self, name)

    monkeypatch.setattr(Claims, "take", slow)
    assert collect(store, garbage) == []
    Store(store.location).read_images(0, 10)


def test_what_is_claimed_after_it_was_found_survives(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    garbage = find_garbage(store)
    with Claims(store.objects) as claims:
        assert claims.take(make_shard_name(1))
        before = everything(store)
        assert collect(store, garbage) == []
        assert everything(store) == before


def test_no_writer_can_take_a_shard_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = uncommitted(tmp_path / "s")
    kind = type(store.objects)
    delete, taken = kind.delete, []

    def watched(self: Objects, keys: Iterable[str]) -> None:
        keys = list(keys)
        if keys[0].startswith("images"):
            with Claims(open_objects(tmp_path / "s")) as writer:
                taken.append(writer.take(make_shard_name(1)))
        delete(self, keys)

    monkeypatch.setattr(kind, "delete", watched)
    assert collect(store, find_garbage(store))
    assert taken == [None]


def test_claims_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    dead = {dead_claim(store, make_shard_name(0)), dead_claim(store, TABLE)}
    store.objects.put(make_claim_key(make_shard_name(2), 0), b"torn")
    dead.add(make_claim_key(make_shard_name(2), 0))
    with Claims(store.objects) as claims:
        assert claims.take(make_shard_name(1))
        before = everything(store)
        garbage = find_garbage(store)
        assert {one.key for one in garbage} == dead
        assert {one.key for one in collect(store, garbage)} == dead
        assert everything(store) == {key: before[key] for key in before.keys() - dead}


def test_objects_that_no_array_of_the_store_has_go(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    strays = [
        "features/late/c/0/0/0/0/0",
        "features/late/zarr.json",
        "features/patch/c/0/1/0/0/0",
        "images/d/0",
        "commits/00000000/id/c/0",
        "samples/00000000/weight/c/0",
        "claims/odd/zarr.json",
    ]
    before = everything(store)
    for key in strays:
        store.objects.put(key, b"stray")
    garbage = find_garbage(store)
    assert {one.key for one in garbage} == set(strays)
    assert len(collect(store, garbage)) == len(strays)
    assert everything(store) == before


def test_what_is_not_ours_is_told_and_left_alone(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    mine = {"notes.txt", "photos/cat.jpg", "features.txt"}
    for key in mine:
        store.objects.put(key, b"mine")
    (tmp_path / "s" / "draft#1").write_bytes(b"mine")
    os.utime(tmp_path / "s" / "draft#1", (0, 0))
    garbage = find_garbage(store)
    assert {one.key for one in garbage if one.unknown} == mine
    removed = collect(store, garbage)
    assert not {one.key for one in removed} & mine
    assert mine <= everything(store).keys()
    assert (tmp_path / "s" / "draft#1").exists()
    assert "notes.txt" in describe_garbage(garbage)
    assert {one["key"] for one in list_garbage(garbage)["unknown"]} == mine


def test_folders_behind_links_are_left_alone(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    (tmp_path / "photos" / "empty").mkdir(parents=True)
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    (tmp_path / "s" / "features" / "more").symlink_to(tmp_path / "photos")
    garbage = find_garbage(store)
    assert all(one.unknown for one in garbage)
    assert collect(store, garbage) == []
    assert (tmp_path / "photos" / "cat.jpg").exists()
    assert (tmp_path / "photos" / "empty").exists()


def test_an_array_that_stands_on_another_disk_is_left_alone(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    (tmp_path / "s" / "images").rename(tmp_path / "disk")
    (tmp_path / "s" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "empty").mkdir()
    garbage = find_garbage(store)
    assert [one.key for one in garbage if one.unknown] == ["images/c/1/0/0/0"]
    collect(store, garbage)
    assert (tmp_path / "disk/c/1/0/0/0").exists()
    assert (tmp_path / "disk/empty").exists()


def test_temporary_files_go_when_they_have_settled(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    paths = [tmp_path / "s" / name for name in ("zarr.json#1", "images/c/0/0/0/0#2")]
    for path in paths:
        path.write_bytes(b"half")
    assert find_garbage(store) == []
    for path in paths:
        os.utime(path, (0, 0))
    garbage = find_garbage(store)
    assert {one.key: one.bytes for one in garbage} == {"zarr.json#1": 4, "images/c/0/0/0/0#2": 4}
    assert len(collect(store, garbage)) == 2
    assert not any(path.exists() for path in paths)


def test_no_empty_folder_is_left(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    store = add_generation(store, store.table)
    uncommit(store, 1)
    dead_claim(store, make_shard_name(0))
    collect(store, find_garbage(store))
    folders = [path for path in (tmp_path / "s").rglob("*") if path.is_dir()]
    assert all(any(path.iterdir()) for path in folders)


def test_a_store_that_cannot_be_opened_is_not_touched(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    garbage = find_garbage(store)
    (tmp_path / "s" / "zarr.json").write_bytes(b"torn")
    for call in (lambda: find_garbage(store), lambda: collect(store, garbage)):
        with pytest.raises(StoreError, match="damaged"):
            call()


def test_the_report_says_how_much_of_what(tmp_path: Path) -> None:
    store = uncommitted(tmp_path / "s")
    store.objects.put("notes.txt", b"mine")
    garbage = find_garbage(store)
    value = json.loads(json.dumps(list_garbage(garbage)))
    assert value["bytes"] == sum(one.bytes for one in garbage if not one.unknown)
    assert len(value["garbage"]) == len(store.arrays)
    assert "4 objects" in describe_garbage(garbage)
    assert "no commit record" in describe_garbage(garbage)
    many = [replace(garbage[0], key=f"features/x/{number}") for number in range(25)]
    assert "… and 15 more" in describe_garbage(many)


def test_buckets_are_collected(s3: str) -> None:
    store = full_store(f"{s3}/s.zarr")
    before = everything(store)
    uncommit(store, 1)
    assert len(collect(store, find_garbage(store))) == len(store.arrays)
    assert commit_shard(store, 1, content(store, 1))
    assert everything(store).keys() == before.keys()
    assert find_garbage(store) == []
