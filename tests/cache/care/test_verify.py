"""Verify finds every damaged object, and names the samples that it costs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import content, create, full_store, uncommit

from samcache.cache.care.verify import report, verify
from samcache.cache.commit import commit_shard
from samcache.cache.errors import UnreachableError
from samcache.cache.format.commit_record import make_commit_key, make_spare_key
from samcache.cache.format.records import seal, unseal
from samcache.cache.store import Store


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << (place % 8)
    path.write_bytes(bytes(data))


def test_a_whole_store_is_well_and_pending_shards_are_no_damage(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    assert verify(store) == []
    uncommit(store, 1)
    assert verify(Store(store.location)) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_is_found_in_its_object(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = full_store(tmp_path_factory.mktemp("v") / "s.zarr")
    keys = [spec.make_key(shard) for shard in range(3) for spec in store.arrays.values()]
    key = data.draw(st.sampled_from(keys))
    flip(Path(store.location, key), data.draw(st.integers(0, 10_000)))
    (damage,) = verify(Store(store.location))
    assert damage.key == key
    shard = int(key.split("/c/")[1].split("/")[0])
    assert set(damage.rows) <= set(range(*store.layout.find_rows(shard)))
    assert damage.rows


def test_a_flip_in_one_images_chunk_costs_that_image_alone(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    chunk = 4 * 6 * 6 * 2 + 4  # values and checksum of one image of level patch
    flip(Path(store.location) / "features/patch/c/1/0/0/0/0", 2 * chunk + 10)
    (damage,) = verify(Store(store.location))
    assert damage.rows == (6,)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("change", ["remove", "truncate"])
def test_missing_and_short_objects_are_found(tmp_path: Path, change: str, fast: bool) -> None:
    store = full_store(tmp_path / "s.zarr")
    path = Path(store.location) / "features/neck/c/0/0/0/0/0"
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    (damage,) = verify(Store(store.location), fast=fast)
    assert damage.key == "features/neck/c/0/0/0/0/0"
    assert damage.rows == (0, 1, 2, 3)


def test_another_shards_object_in_its_place_costs_the_whole_shard(tmp_path: Path) -> None:
    """Every chunk's own checksum passes; only the record knows."""
    store = full_store(tmp_path / "s.zarr")
    folder = Path(store.location) / "features/patch/c"
    (folder / "0/0/0/0/0").write_bytes((folder / "1/0/0/0/0").read_bytes())
    (damage,) = verify(Store(store.location))
    assert damage.rows == (0, 1, 2, 3)
    assert "checksum" in damage.problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("path", ["features/neck", "statistics"])
def test_values_that_are_no_numbers_are_found(tmp_path: Path, path: str, value: float) -> None:
    store = create(tmp_path / "s.zarr")
    bad = content(store, 0)
    bad.blocks[path][2].flat[1] = value
    commit_shard(store, 0, bad)
    (damage,) = verify(Store(store.location))
    assert (damage.problem, damage.rows) == ("holds NaN or infinity", (2,))


@pytest.mark.parametrize(("spare", "cost"), [(False, (0, 1, 2, 3)), (True, ())])
@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_commit_record_costs_what_no_spare_tells_and_hides_no_other(
    tmp_path: Path, spare: bool, cost: tuple[int, ...], missing: bool
) -> None:
    store = full_store(tmp_path / "s.zarr")
    record = Path(store.location) / make_commit_key(0)
    record.write_bytes(b"{")
    if not spare:
        (Path(store.location) / make_spare_key(0)).unlink()
    elif missing:
        record.unlink()
    flip(Path(store.location) / "images/c/2/0/0/0", 5)
    first, second = verify(Store(store.location))
    assert first.key == make_commit_key(0)
    assert first.rows == cost
    assert second.key == "images/c/2/0/0/0"
    told = report(store.location)
    assert (len(told.lost), told.uncommitted) == (len(cost) + len(second.rows), [])


@pytest.mark.parametrize("key", ["../../etc/passwd", "features/patch/c/2/0/0/0/0", "/etc/passwd"])
def test_a_record_that_points_elsewhere_is_damage_and_is_not_followed(
    tmp_path: Path, key: str
) -> None:
    store = full_store(tmp_path / "s.zarr")
    record = unseal(store.objects.get(make_commit_key(0)))
    record["objects"][key] = {"bytes": 1, "checksum": "0" * 32}
    store.objects.put(make_commit_key(0), seal(record))
    (damage,) = verify(Store(store.location))
    assert damage.key == make_commit_key(0)
    assert "names other objects" in damage.problem


def test_a_network_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = full_store(tmp_path / "s.zarr")

    def give_no_answer(_: int) -> None:
        raise UnreachableError("s3://b/s.zarr cannot be reached: no answer in time")

    monkeypatch.setattr(store, "find_commit", give_no_answer)
    with pytest.raises(UnreachableError):
        verify(store)
