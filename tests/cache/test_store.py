"""What is committed stands and is whole; what is not committed does not exist."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import SHAPES, content, create, full_store, samples

from samcache.cache.commits import Commit, commit_key
from samcache.cache.errors import StoreError
from samcache.cache.statistics import Moments
from samcache.cache.store import ShardContent, Store


def test_committed_shards_read_back_bit_for_bit(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    for shard in range(3):
        store.commit(shard, content(store, shard))
    store = Store(tmp_path / "s.zarr", "r")
    assert store.pending() == []
    for shard in range(3):
        start, stop = store.layout.rows_of(shard)
        expected = content(store, shard)
        for level in SHAPES:
            np.testing.assert_array_equal(
                store.features(level)[start:stop], expected.features[level]
            )
        np.testing.assert_array_equal(store.images[start:stop], expected.images)
    pd.testing.assert_frame_equal(
        store.samples[["id", "label", "split", "group"]].astype({"label": int}),
        samples(10),
        check_dtype=False,
    )


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 12),
    per_shard=st.integers(1, 5),
    chosen=st.sets(st.integers(0, 11)),
)
def test_pending_is_exactly_what_has_no_commit(
    tmp_path_factory: pytest.TempPathFactory, rows: int, per_shard: int, chosen: set[int]
) -> None:
    store = create(tmp_path_factory.mktemp("p") / "s.zarr", rows, per_shard)
    covered = [
        row for shard in range(store.layout.shards) for row in range(*store.layout.rows_of(shard))
    ]
    assert covered == list(range(rows))
    committed = {shard for shard in chosen if shard < store.layout.shards}
    for shard in committed:
        store.commit(shard, content(store, shard))
    again = Store(store.path, "r")
    assert set(again.pending()) == set(range(again.layout.shards)) - committed
    missing = {row for shard in again.pending() for row in range(*again.layout.rows_of(shard))}
    assert set(np.flatnonzero(again.samples["status"] == "missing")) == missing


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10), st.integers(0, 10))
def test_any_range_of_rows_reads_as_numpy_would_cut_it(
    tmp_path_factory: pytest.TempPathFactory, start: int, stop: int
) -> None:
    store = full_store(tmp_path_factory.mktemp("r") / "s.zarr")
    start, stop = min(start, stop), max(start, stop)
    whole = np.concatenate([content(store, shard).features["neck"] for shard in range(3)])
    np.testing.assert_array_equal(store.read_features("neck", start, stop), whole[start:stop])


def test_leftovers_of_a_killed_writer_are_replaced(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    for key in store.object_keys(1):
        path = store.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a shard")
    store.commit(1, content(store, 1))
    np.testing.assert_array_equal(
        Store(store.path, "r").features("patch")[4:8], content(store, 1).features["patch"]
    )


def test_a_standing_commit_is_never_overwritten(tmp_path: Path) -> None:
    store, other = create(tmp_path / "s.zarr"), Store(tmp_path / "s.zarr", "r+")
    store.commit(0, content(store, 0))
    before = (store.path / commit_key(0)).read_bytes()
    with pytest.raises(StoreError, match="committed by another process"):
        other.commit(0, content(store, 0))
    assert (store.path / commit_key(0)).read_bytes() == before


def test_a_flipped_byte_is_found_on_reading(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    store.commit(0, content(store, 0))
    path = store.path / "features/patch/c/0/0/0/0/0"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    for start, stop in ((0, 4), (1, 2), (3, 4), (2, 6)):
        with pytest.raises(StoreError, match=r"(?i)features/patch, rows .*checksum"):
            Store(store.path, "r").read_features("patch", start, stop)


@pytest.mark.parametrize("key", ["samples/id/c/0", "samples/label/c/0", "statistics/c/0/0/0"])
def test_a_damaged_table_is_one_clear_error(tmp_path: Path, key: str) -> None:
    store = create(tmp_path / "s.zarr")
    store.commit(0, content(store, 0))
    data = bytearray((store.path / key).read_bytes())
    data[9] ^= 1
    (store.path / key).write_bytes(bytes(data))
    store = Store(store.path, "r")
    with pytest.raises(StoreError, match="cannot be read"):
        store.samples if key.startswith("samples") else store.statistics("patch")


def test_statistics_come_from_committed_shards_alone(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    expected = Moments.zero(4)
    for shard in (0, 2):
        store.commit(shard, content(store, shard))
        expected = expected.merge(content(store, shard).moments["patch"])
    found = Store(store.path, "r").statistics("patch")
    assert found.count == 20
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.m2, expected.m2)


def test_failed_rows_keep_their_reason(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    good = content(store, 0)
    sources = ("", *good.sources[1:])
    store.commit(0, ShardContent(good.features, good.images, good.moments, sources, {0: "empty"}))
    row = Store(store.path, "r").samples.iloc[0]
    assert (row["status"], row["reason"], row["sha256"]) == ("unreadable", "empty", "")


def test_a_store_is_a_plain_zarr_group(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    store.commit(0, content(store, 0))
    group = zarr.open_group(store.path, mode="r")
    assert dict(group.members(max_depth=None)).keys() >= {
        "features/patch", "features/neck", "images", "samples/id", "commits/00000000", "statistics",
    }  # fmt: skip
    assert group["commits/00000000"].attrs["rows"] == [0, 4]


def test_interrupted_creation_is_no_store_and_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "t.zarr").mkdir()
    (tmp_path / "t.zarr/zarr.0123.partial").write_bytes(b"{")
    assert create(tmp_path / "t.zarr").pending() == [0, 1, 2]
    path = tmp_path / "s.zarr"
    zarr.open_group(path, mode="w", attributes={"samcache": {"creating": True}})
    with pytest.raises(StoreError, match="not a finished samcache store"):
        Store(path, "r")
    assert create(path).pending() == [0, 1, 2]


def test_other_folders_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a samcache store"):
        create(tmp_path)
    zarr.open_group(tmp_path / "other.zarr", mode="w", attributes={"mine": 1})
    with pytest.raises(StoreError, match="not a samcache store"):
        create(tmp_path / "other.zarr")


def damage_root(path: Path, **changes: object) -> None:
    file = path / "zarr.json"
    node = json.loads(file.read_text())
    node["attributes"]["samcache"].update(changes)
    file.write_text(json.dumps(node))


def test_damaged_stores_end_in_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "nowhere", "r")
    store = create(tmp_path / "a.zarr")
    damage_root(store.path, fingerprint="0" * 64)
    with pytest.raises(StoreError, match="fingerprint and identity disagree"):
        Store(store.path, "r")
    store = create(tmp_path / "b.zarr")
    (store.path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="not a Zarr group"):
        Store(store.path, "r")
    store = create(tmp_path / "c.zarr")
    (store.path / "features/neck/zarr.json").unlink()
    with pytest.raises(StoreError, match="features/neck is missing"):
        Store(store.path, "r")
    store = create(tmp_path / "d.zarr")
    damage_root(store.path, dataset=7)
    with pytest.raises(StoreError, match="dataset attribute is damaged"):
        Store(store.path, "r")


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("rows"),
        lambda record: record.update(rows=[0, 400]),
        lambda record: record.update(shard=1),
        lambda record: record.update(failures={"9": "x"}),
        lambda record: record.update(objects={"a": {}}),
        lambda record: record.update(sources=3),
    ],
)
def test_a_damaged_commit_record_is_refused(tmp_path: Path, damage: object) -> None:
    store = create(tmp_path / "s.zarr")
    store.commit(0, content(store, 0))
    node = json.loads((store.path / commit_key(0)).read_text())
    damage(node["attributes"])  # type: ignore[operator]
    with pytest.raises(StoreError, match="commit record of shard 0 is damaged"):
        Commit.from_bytes(json.dumps(node).encode(), 0)
