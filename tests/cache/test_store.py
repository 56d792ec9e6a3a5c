"""What is committed stands and is whole; what is not committed does not exist."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import SHAPES, content, create, full_store, samples

from samcache.cache.commit import commit_shard, encode_content
from samcache.cache.create import store_exists
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import Commit, make_commit_key
from samcache.cache.format.layout import Layout, check_extents
from samcache.cache.format.records import seal, unseal
from samcache.cache.format.samples import make_generation_key
from samcache.cache.format.statistics import Moments
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store


def test_committed_shards_read_back_bit_for_bit(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    assert store.list_pending() == []
    for shard in range(3):
        start, stop = store.layout.find_rows(shard)
        for path, block in content(store, shard).blocks.items():
            np.testing.assert_array_equal(store.read(path, start, stop), block)
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
        row for shard in range(store.layout.shards) for row in range(*store.layout.find_rows(shard))
    ]
    assert covered == list(range(rows))
    committed = {shard for shard in chosen if shard < store.layout.shards}
    for shard in committed:
        commit_shard(store, shard, content(store, shard))
    again = Store(store.location)
    assert set(again.list_pending()) == set(range(again.layout.shards)) - committed
    missing = {
        row for shard in again.list_pending() for row in range(*again.layout.find_rows(shard))
    }
    assert set(np.flatnonzero(again.samples["status"] == "missing")) == missing


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10), st.integers(0, 10), st.sets(st.integers(0, 9)), st.integers(0, 3))
def test_any_range_of_rows_reads_as_numpy_would_cut_it(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    stop: int,
    absent: set[int],
    uncommitted: int,
) -> None:
    """Failed rows, holes and uncommitted shards read as zeros."""
    store = create(tmp_path_factory.mktemp("r") / "s.zarr")
    whole = {
        path: np.concatenate([content(store, shard).blocks[path] for shard in range(3)])
        for path in store.arrays
    }
    for shard in range(3):
        rows = range(*store.layout.find_rows(shard))
        gone = [row for row in rows if row in absent]
        if shard == uncommitted:
            gone = list(rows)
        else:
            failures = dict.fromkeys(gone[::2], "bad")
            commit_shard(
                store, shard, content(store, shard, failures=failures, holes=tuple(gone[1::2]))
            )
        for block in whole.values():
            block[gone] = 0
    store = Store(store.location)
    start, stop = min(start, stop), max(start, stop)
    for path, block in whole.items():
        np.testing.assert_array_equal(store.read(path, start, stop), block[start:stop])


def test_leftovers_of_a_killed_writer_are_replaced(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    for spec in store.arrays.values():
        store.objects.put(spec.make_key(1), b"half a shard")
    assert commit_shard(store, 1, content(store, 1))
    found = Store(store.location).read_features("patch", 4, 8)
    np.testing.assert_array_equal(found, content(store, 1).blocks["features/patch"])


def every_object(store: Store) -> dict[str, bytes]:
    return {key: store.objects.get(key) for key in store.objects.list_objects("")}


def test_a_standing_commit_is_never_overwritten(tmp_path: Path) -> None:
    store, other = create(tmp_path / "s.zarr"), Store(tmp_path / "s.zarr")
    assert commit_shard(store, 0, content(store, 0))
    before = every_object(store)
    assert not commit_shard(other, 0, content(store, 0, seed=1))
    commit_shard(other, 0, content(store, 0))
    assert every_object(store) == before


def test_a_writer_that_lost_its_claim_changes_nothing(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    _, objects = encode_content(store, 0, content(store, 0))
    for key, data in list(objects.items())[:2]:
        store.objects.put(key, data)
    before = every_object(store)
    assert not commit_shard(store, 0, content(store, 0, seed=1), lambda: False)
    assert every_object(store).items() >= before.items()
    assert make_commit_key(0) not in every_object(store)


def test_a_writer_that_lost_its_claim_writes_no_record(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    assert not commit_shard(store, 0, content(store, 0), lambda: False)
    assert make_commit_key(0) not in every_object(store)


def test_a_flipped_byte_is_found_on_reading(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    path = Path(store.location, "features/patch/c/0/0/0/0/0")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    for start, stop in ((0, 4), (1, 2), (3, 4), (2, 6), (0, 10)):
        with pytest.raises(
            StoreError, match=r"features/patch/c/0/0/0/0/0: checksums do not match in 1 row"
        ):
            store.read_features("patch", start, stop)
    assert store.read_features("patch", 4, 10).shape == (6, 1, 4, 6, 6)


@pytest.mark.parametrize("column", ["id", "label", "split", "group"])
def test_a_damaged_table_is_one_clear_error(tmp_path: Path, column: str) -> None:
    store = full_store(tmp_path / "s.zarr")
    path = Path(store.location, f"samples/00000000/{column}/c/0")
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=f"samples/00000000/{column}/c/0 is missing or damaged"):
        _ = store.samples


def test_moments_come_from_committed_readable_training_rows_alone(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    rows = []
    for shard in (0, 2):
        first, last = store.layout.find_rows(shard)
        made = content(store, shard, failures={first + 1: "bad"})
        commit_shard(store, shard, made)
        train = [row for row in range(first, last) if row % 3 and row != first + 1]
        rows.append(made.blocks["statistics"][np.array(train) - first])
    values = np.concatenate(rows)[:, :, :4].astype(np.float64)
    expected = Moments.of_images(values[:, 0], values[:, 1])
    found = Store(store.location).read_moments()["patch"]
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.variance, expected.variance)


def test_failed_rows_keep_their_reason(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    sources = ("", *content(store, 0).sources[1:])
    commit_shard(store, 0, content(store, 0, sources=sources, failures={0: "empty"}))
    row = Store(store.location).samples.iloc[0]
    assert (row["status"], row["reason"], row["sha256"]) == ("unreadable", "empty", "")


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = full_store(tmp_path / "a.zarr"), full_store(tmp_path / "b.zarr")
    keys = [spec.make_key(shard) for spec in first.arrays.values() for shard in range(3)]
    assert [first.objects.get(key) for key in keys] == [second.objects.get(key) for key in keys]


def test_a_store_is_a_plain_zarr_group(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    group = zarr.open_group(store.location, mode="r")
    assert dict(group.members(max_depth=None)).keys() >= {
        "features/patch", "features/neck", "images", "samples/00000000/id", "commits/00000000",
        "statistics", "claims",
    }  # fmt: skip
    assert group["commits/00000000"].attrs["samcache"]["rows"] == [0, 4]


@pytest.mark.parametrize("written", [0, 1, 7, 30])
def test_interrupted_creation_is_no_store_and_may_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    objects = open_objects(tmp_path / "s.zarr")
    write, count = type(objects).create, []

    def until_the_power_goes(self: Any, key: str, data: bytes) -> bool:
        if len(count) == written:
            raise KeyboardInterrupt
        count.append(key)
        return bool(write(self, key, data))

    monkeypatch.setattr(type(objects), "create", until_the_power_goes)
    if written < 30:
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path / "s.zarr")
        assert not store_exists(objects)
        with pytest.raises(StoreError, match="no store at"):
            Store(tmp_path / "s.zarr")
    monkeypatch.setattr(type(objects), "create", write)
    assert create(tmp_path / "s.zarr").list_pending() == [0, 1, 2]


def test_other_folders_are_never_taken_for_an_unfinished_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds thesis\.tex, and is not a samcache store"):
        store_exists(open_objects(tmp_path))
    with pytest.raises(StoreError, match="is a file"):
        store_exists(open_objects(tmp_path / "thesis.tex"))
    zarr.open_group(tmp_path / "other.zarr", mode="w", attributes={"mine": 1})
    with pytest.raises(StoreError, match="is not a samcache store"):
        Store(tmp_path / "other.zarr")


def change(store: Store, key: str, **changes: object) -> None:
    """Seal a record anew with other content, as someone with bad intentions would."""
    store.objects.put(key, seal({**unseal(store.objects.get(key)), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint and identity disagree"),
        ({"identity": 7}, "identity is not a JSON object"),
        ({"dataset": 7}, "root record is damaged"),
        ({"level_shapes": {"patch": [1, 2]}}, "root record is damaged"),
        ({"level_shapes": {"patch": [1 << 20, 1 << 20, 1], "neck": [1, 1, 1]}}, "claims rows"),
        ({"level_shapes": {"patch": [-4, 6, 6], "neck": [3, 2, 2]}}, "expected int >= 1"),
        ({"rows_per_shard": 0}, "rows_per_shard: expected int >= 1"),
        ({"rows_per_shard": 1 << 17}, "in shards of 131072"),
    ],
)
def test_a_hostile_root_record_ends_in_one_clear_error(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    store = full_store(tmp_path / "s.zarr")
    change(store, "zarr.json", **changes)
    with pytest.raises(StoreError, match=message):
        Store(store.location)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "..", ""])
def test_level_names_cannot_lead_out_of_the_store(tmp_path: Path, name: str) -> None:
    store = create(tmp_path / "s.zarr")
    layout = Layout(1, 1, {name: (1, 1, 1)})
    identity = type(store.identity)(**{**vars(store.identity), "levels": (name,)})
    with pytest.raises(StoreError, match="are not names"):
        check_extents(layout, identity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": [[5, 3]]}, "out of order"),
        ({"runs": [[-5, 3]]}, "expected int >= 0"),
        ({"runs": [[0, 10**14]], "extent": 10**14}, "does not hold 100000000000000 values"),
        ({"extent": 10**14}, "an extent of 100000000000000 rows for 10 samples"),
        ({"runs": [[0, 11]], "extent": 11}, "holds 10 values instead of 11"),
        ({"objects": {"../../etc/passwd": {"bytes": 1, "checksum": ""}}}, "names other objects"),
        ({"extent": 9}, "more than its extent"),
        ({"number": 3}, "record of another table|names other objects"),
    ],
)
def test_a_hostile_sample_record_ends_in_one_clear_error(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    store = full_store(tmp_path / "s.zarr")
    change(store, make_generation_key(0), **changes)
    with pytest.raises(StoreError, match=message):
        _ = Store(store.location).layout, Store(store.location).samples


def test_records_of_absurd_size_are_not_even_read(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    with Path(store.location, "zarr.json").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(StoreError, match="has 1000000000000 bytes: it is damaged"):
        Store(store.location)


def test_damaged_stores_end_in_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "nowhere")
    store = create(tmp_path / "b.zarr")
    for text in (b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"attributes": {}}', b"7"):
        Path(store.location, "zarr.json").write_bytes(text)
        with pytest.raises(StoreError, match=r"is not a samcache store, or its zarr\.json is"):
            Store(store.location)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("rows"),
        lambda record: record.update(rows=[0, 400]),
        lambda record: record.update(shard=1),
        lambda record: record.update(failures={"9": "x"}),
        lambda record: record.update(holes=[-1]),
        lambda record: record.update(objects={"a": {}}),
        lambda record: record.update(sources=3),
    ],
)
def test_a_hostile_commit_record_is_refused(tmp_path: Path, damage: Any) -> None:
    store = full_store(tmp_path / "s.zarr")
    record = unseal(store.objects.get(make_commit_key(0)))
    damage(record)
    with pytest.raises(StoreError, match="commit record of shard 0 is damaged"):
        Commit.from_bytes(seal(record), 0)


def test_levels_have_a_place_each_in_the_statistics() -> None:
    assert Layout(1, 1, SHAPES).channels == {"patch": slice(0, 4), "neck": slice(4, 7)}


def test_what_is_left_of_a_store_is_not_taken_for_an_unfinished_one(tmp_path: Path) -> None:
    """Its commits would count for the samples of another."""
    store = full_store(tmp_path / "s.zarr")
    Path(store.location, "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"without its root record: run samcache cache repair"):
        store_exists(store.objects)
