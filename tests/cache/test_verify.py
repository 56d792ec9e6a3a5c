"""Verify finds every damaged object, and names the samples that it costs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import content, create, full_store

from samcache.cache.commits import commit_key
from samcache.cache.store import ShardContent, Store
from samcache.cache.verify import verify


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << (place % 8)
    path.write_bytes(bytes(data))


def test_a_whole_store_is_well_and_pending_shards_are_no_damage(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    assert verify(store) == []
    (store.path / commit_key(1)).unlink()
    assert verify(Store(store.path, "r")) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_is_found_in_its_object(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = full_store(tmp_path_factory.mktemp("v") / "s.zarr")
    keys = [key for shard in range(3) for key in store.object_keys(shard)]
    key = data.draw(st.sampled_from(keys))
    flip(store.path / key, data.draw(st.integers(0, 10_000)))
    (damage,) = verify(Store(store.path, "r"))
    assert damage.key == key
    shard = next(shard for shard in range(3) if key in store.object_keys(shard))
    assert set(damage.rows) <= set(range(*store.layout.rows_of(shard)))
    assert damage.rows


def test_a_flip_in_one_images_chunk_costs_that_image_alone(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    chunk = 4 * 6 * 6 * 2 + 4  # values and checksum of one image of level patch
    flip(store.path / "features/patch/c/1/0/0/0/0", 2 * chunk + 10)
    (damage,) = verify(Store(store.path, "r"))
    assert damage.rows == (6,)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("change", ["remove", "truncate"])
def test_missing_and_short_objects_are_found(tmp_path: Path, change: str, fast: bool) -> None:
    store = full_store(tmp_path / "s.zarr")
    path = store.path / "features/neck/c/0/0/0/0/0"
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    (damage,) = verify(Store(store.path, "r"), fast=fast)
    assert damage.key == "features/neck/c/0/0/0/0/0"
    assert damage.rows == (0, 1, 2, 3)


def test_another_shards_object_in_its_place_costs_the_whole_shard(tmp_path: Path) -> None:
    """Every chunk's own checksum passes; only the record knows."""
    store = full_store(tmp_path / "s.zarr")
    folder = store.path / "features/patch/c"
    (folder / "0/0/0/0/0").write_bytes((folder / "1/0/0/0/0").read_bytes())
    (damage,) = verify(Store(store.path, "r"))
    assert damage.rows == (0, 1, 2, 3)
    assert "SHA-256" in damage.problem


def test_values_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    good = content(store, 0)
    good.features["neck"][2, 0, 1, 0, 0] = np.nan
    store.commit(0, ShardContent(good.features, good.images, good.moments, good.sources, {}))
    (damage,) = verify(Store(store.path, "r"))
    assert (damage.problem, damage.rows) == ("holds NaN or infinity", (2,))


def test_a_damaged_commit_record_costs_its_shard_and_hides_no_other(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    (store.path / commit_key(0)).write_bytes(b"{")
    flip(store.path / "images/c/2/0/0/0", 5)
    first, second = verify(Store(store.path, "r"))
    assert first.key == commit_key(0)
    assert first.rows == (0, 1, 2, 3)
    assert second.key == "images/c/2/0/0/0"


@pytest.mark.parametrize("key", ["../../etc/passwd", "features/patch/c/2/0/0/0/0", "/etc/passwd"])
def test_a_record_that_points_elsewhere_is_damage_and_is_not_followed(
    tmp_path: Path, key: str
) -> None:
    store = full_store(tmp_path / "s.zarr")
    path = store.path / commit_key(0)
    node = json.loads(path.read_text())
    node["attributes"]["objects"][key] = {"bytes": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(node))
    (damage,) = verify(Store(store.path, "r"))
    assert damage.key == commit_key(0)
    assert "none of its objects" in damage.problem
