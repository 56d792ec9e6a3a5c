"""A split as a Dataset: its items, its batches, in workers, and of a damaged store."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from store_content import IDENTITY, content, create, full_store
from torch.utils.data import DataLoader, default_collate
from turned_frame import turned_frame

import samcache
from samcache.cache.commit import commit_shard
from samcache.cache.format.views import VIEW_SETS
from samcache.cache.store import Store as StoredFeatures
from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.data.scaling import scale_inputs

FLIPS = VIEW_SETS["flips"]


@pytest.fixture
def features(tmp_path: Path) -> StoredFeatures:
    return full_store(tmp_path / "s.zarr")


def test_items_and_batches_hold_what_the_store_holds(features: StoredFeatures) -> None:
    store = samcache.open(features.location)
    dataset = store.dataset("train", ["neck", "patch"], standardize=False)
    rows = np.array([1, 2, 4, 5, 7, 8])  # of the split
    assert dataset.samples["row"].tolist() == rows.tolist()
    neck, images = features.read_features("neck", 0, 10)[:, 0], features.read_images(0, 10)
    item = dataset[-2]
    assert list(item) == ["neck", "patch", "images", "label", "id"]
    np.testing.assert_array_equal(item["neck"], neck[7])
    np.testing.assert_array_equal(item["images"], images[7].transpose(2, 0, 1))
    assert (item["label"], item["id"]) == (1, "image 7 é")
    loader = DataLoader(dataset, 4, collate_fn=samcache.collate_items)
    for batch, own in zip(loader, (rows[:4], rows[4:]), strict=True):
        np.testing.assert_array_equal(batch["neck"], neck[own])
        assert batch["label"].tolist() == (own % 2).tolist()
        assert batch["id"] == [f"image {row} é" for row in own]
    with pytest.raises(IndexError, match="item 6 of 6"):
        dataset[6]


def test_collate_items_returns_the_default_collates_batch_and_copies_nothing(
    features: StoredFeatures,
) -> None:
    dataset = samcache.open(features.location).dataset("train", ["neck", "patch"])
    items = dataset.__getitems__([3, 1, 4])
    batch, expected = samcache.collate_items(items), default_collate(items)
    assert list(batch) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values)
    assert batch["images"].data_ptr() == items[0]["images"].data_ptr()
    mixed = samcache.collate_items([dataset[3], *items[1:]])
    assert mixed["id"] == batch["id"]
    assert torch.equal(mixed["neck"], batch["neck"])


@pytest.mark.parametrize("block", [1, 500])  # less than a line of pixels; some lines or maps
def test_standardized_values_are_those_that_train_uses(
    features: StoredFeatures, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("samcache.api.dataset._BLOCK", block)
    plan = InputPlan.of(features, {"neck": 2, "patch": 6}, 8)
    data = load_training_data(plan)
    data = scale_inputs(data, features, data.find_rows("train"))
    images, maps = data.make_inputs(data.find_rows("test"))
    dataset = samcache.open(features.location).dataset("test", ["neck", "patch"])
    (batch,) = DataLoader(dataset, 100)
    assert torch.equal(batch["images"], images)
    assert all(torch.equal(batch[level], maps[level]) for level in maps)


def test_images_and_maps_show_the_same_drawn_view(tmp_path: Path) -> None:
    features = create(tmp_path / "s.zarr", identity=replace(IDENTITY, views=FLIPS))
    for shard in range(3):
        held = content(features, shard)
        held.blocks["extents"][:] = 6, 8  # height, width; the rest of the frame is padding
        held.blocks["images"][:, 6:] = 0
        commit_shard(features, shard, held)
    store = samcache.open(tmp_path / "s.zarr")
    maps, frames = features.read_features("neck", 0, 10), features.read_images(0, 10)
    dataset = store.dataset(None, views=FLIPS, standardize=False)
    torch.manual_seed(1)
    seen = set()
    for place, item in enumerate(dataset.__getitems__([*range(10)] * 2)):
        row = place % 10
        (view,) = [v for v in range(4) if np.array_equal(maps[row, v], item["neck"])]
        shown = turned_frame(frames[row], (6, 8), FLIPS[view]).transpose(2, 0, 1)
        np.testing.assert_array_equal(item["images"], shown)
        seen.add(view)
    assert seen == {0, 1, 2, 3}
    scaled = store.dataset(None, views=FLIPS)
    torch.manual_seed(1)
    plain = samcache.collate_items(dataset.__getitems__([*range(10)]))
    torch.manual_seed(1)
    batch = samcache.collate_items(scaled.__getitems__([*range(10)]))
    assert all(torch.equal(batch[n], s.apply(plain[n])) for n, s in scaled.scales.items())
    one = store.dataset(None, views=["flip_v"], standardize=False)[4]
    np.testing.assert_array_equal(one["neck"], maps[4, 2])
    shown = turned_frame(frames[4], (6, 8), "flip_v").transpose(2, 0, 1)
    np.testing.assert_array_equal(one["images"], shown)


def read_all(dataset: Any, **options: Any) -> dict[str, np.ndarray]:
    batches = list(DataLoader(dataset, 4, collate_fn=samcache.collate_items, **options))
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_read_what_one_process_reads(
    features: StoredFeatures, method: str, workers: int
) -> None:
    dataset = samcache.open(features.location).dataset("train")
    expected = read_all(dataset)
    found = read_all(dataset, num_workers=workers, multiprocessing_context=method)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_dataset_can_be_pickled_and_sees_the_same_samples(features: StoredFeatures) -> None:
    dataset = samcache.open(features.location).dataset("train")
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301  our own bytes
    (Path(features.location) / "commits").rename(Path(features.location) / "elsewhere")
    assert torch.equal(copy[2]["neck"], dataset[2]["neck"])
    item = pickle.loads(pickle.dumps(dataset[2]))  # noqa: S301
    assert torch.equal(item["images"], dataset[2]["images"])


def test_a_damaged_row_is_an_error_for_batches_that_hold_it(features: StoredFeatures) -> None:
    dataset = samcache.open(features.location).dataset("train")
    spec = features.arrays["features/neck"]
    path = Path(features.location) / spec.make_key(1)
    data = bytearray(path.read_bytes())
    data[3 * (spec.row_bytes + 4) + 5] ^= 1  # of row 7
    path.write_bytes(data)
    assert len(dataset.__getitems__([0, 1, 2, 3, 5])) == 5
    with pytest.raises(samcache.SamcacheError, match="checksums do not match in 1 row"):
        dataset.__getitems__([0, 4])


def test_a_forked_worker_of_a_remote_store_is_refused(s3: str) -> None:
    dataset = samcache.open(full_store(f"{s3}/s.zarr").location).dataset("train")
    assert len(dataset[0]["neck"]) == 3
    with pytest.raises(samcache.SamcacheError, match="multiprocessing_context='spawn'"):
        list(DataLoader(dataset, 4, num_workers=1, multiprocessing_context="fork"))


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    store = samcache.open(full_store(tmp_path / "s.zarr", rows=1).location)  # no train split
    with pytest.raises(samcache.SamcacheError, match="standardize=False"):
        store.dataset("test")
    with pytest.raises(samcache.SamcacheError, match="lists of names"):
        store.dataset("test", "neck")
