"""A drawn view's features go with the image turned in the same way, padding and all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import load_scaled
from PIL import Image
from torch import Tensor
from turned_frame import turned_frame

from samcache.cache.format.layout import EXTENTS
from samcache.cache.format.views import VIEW_SETS
from samcache.cache.store import Store
from samcache.extract.encoders.registry import LEVELS
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.train.config import TrainConfig
from samcache.train.data import load as load_module
from samcache.train.data.dataset import Scale, TrainingData
from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.model.pooling import divide_by_kernel
from samcache.train.run import train

FRAME = 32
SIZES = [(20, 32), (32, 20), (32, 32), (5, 32), (32, 7)]
DIHEDRAL = VIEW_SETS["dihedral"]


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight views of twenty asymmetric images of two classes, most of them not square."""
    folder = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(3)
    for number in range(20):
        split = ("train", "train", "val", "test")[number // 2 % 4]
        path = folder / "images" / split / "xy"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*SIZES[number % 5], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    options = ExtractOptions(
        folder / "images", folder / "toy.zarr", "vit_tiny", checkpoint,
        views="dihedral", frame_size=FRAME, pool=2, shard_rows=8,
    )  # fmt: skip
    extract(options)
    return Store(options.store)


def plain(data: TrainingData) -> TrainingData:
    """Inputs in grey levels and the maps' own units."""
    scales = {level: Scale.none(maps.shape[1]) for level, maps in data.pooled.items()}
    return replace(data, image_scale=Scale.none(3), scales=scales)


def channels_first(frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(frames).transpose(0, 3, 1, 2)


def test_a_views_image_is_turned_pixel_for_pixel_and_its_features_are_its_own(store: Store) -> None:
    data = plain(load_scaled(store, divide_by_kernel(store, LEVELS, 2), FRAME, views=DIHEDRAL))
    frames, extents = store.read_images(0, 20), store.read(EXTENTS, 0, 20)
    assert len({tuple(extent) for extent in extents}) == len(SIZES)
    rows = torch.arange(20)
    for place, view in enumerate(DIHEDRAL):
        images, maps = data.make_inputs(rows, torch.full((20,), place))
        expected = [turned_frame(f, tuple(e), view) for f, e in zip(frames, extents, strict=True)]
        np.testing.assert_array_equal(images, channels_first(expected), err_msg=view)
        for level in LEVELS:
            stored = store.read_features(level, 0, 20)[:, place]
            np.testing.assert_array_equal(maps[level], stored, err_msg=f"{view}, {level}")


def test_every_sample_of_a_batch_has_its_own_view(store: Store) -> None:
    data = plain(load_scaled(store, divide_by_kernel(store, LEVELS, 4), FRAME, views=DIHEDRAL))
    rows, drawn = torch.arange(20).flip(0), torch.arange(20) * 3 % 8
    images, maps = data.make_inputs(rows, drawn)
    for number in range(20):
        image, own = data.make_inputs(rows[number, None], drawn[number, None])
        assert torch.equal(images[number], image[0])
        assert all(torch.equal(maps[level][number], own[level][0]) for level in LEVELS)


def test_without_a_draw_every_sample_is_as_in_a_store_without_views(store: Store) -> None:
    data = load_scaled(store, divide_by_kernel(store, LEVELS, 4), 24, views=DIHEDRAL)
    first = load_scaled(store, divide_by_kernel(store, LEVELS, 4), 24)
    rows = torch.arange(20)
    (images, maps), (others, their) = data.make_inputs(rows), first.make_inputs(rows)
    assert torch.equal(images, others)
    assert all(torch.equal(maps[level], their[level]) for level in LEVELS)
    shown = data.make_inputs(rows, torch.zeros(20, dtype=torch.int64))[0]
    assert torch.equal(shown, images), "the identity moves no pixel"


def test_at_another_size_images_are_turned_as_closely_as_pixels_allow(store: Store) -> None:
    side = FRAME // 2
    data = plain(load_scaled(store, {}, side, views=DIHEDRAL))
    frames, extents = store.read_images(0, 20), store.read(EXTENTS, 0, 20)
    even = torch.from_numpy(np.flatnonzero((extents % 2 == 0).all(axis=1)))
    assert len(even) == 12
    smallest = int(extents[even].min()) // 2
    inner = np.s_[:, :, 1 : smallest - 1, 1 : smallest - 1]  # edges mix with padding
    for place, view in enumerate(DIHEDRAL):
        found = data.make_inputs(even, torch.full((len(even),), place))[0]
        turned = [turned_frame(frames[row], tuple(extents[row]), view) for row in even]
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(channels_first(turned)).float(),
            (side, side), mode="bilinear", antialias=True,
        )  # fmt: skip
        assert (found[inner] - expected[inner]).abs().max() <= 0.51


def spied(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor | None]]:
    """What is drawn while training, and while validating."""
    seen: dict[str, list[Tensor | None]] = {"train": [], "eval": []}
    inputs = TrainingData.make_inputs

    def spy(self: TrainingData, rows: Tensor, drawn: Tensor | None = None) -> object:
        seen["train" if torch.is_grad_enabled() else "eval"].append(drawn)
        return inputs(self, rows, drawn)

    monkeypatch.setattr(TrainingData, "make_inputs", spy)
    return seen


def quick(store: Store, out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        store.location, out, epochs=3, seeds=(0,), image_size=FRAME, batch_size=5,
        backbone="timm:test_resnet",
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


def test_training_draws_every_view_and_validation_none(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied(monkeypatch)
    train(quick(store, tmp_path / "a"))
    drawn = [views for views in seen["train"] if views is not None]
    assert len(drawn) == len(seen["train"]) > 0
    assert set(torch.cat(drawn).tolist()) == set(range(8))
    assert seen["eval"]
    assert not any(views is not None for views in seen["eval"])
    train(quick(store, tmp_path / "b"))
    again = [views for views in seen["train"][len(drawn) :] if views is not None]
    assert torch.equal(torch.cat(again), torch.cat(drawn)), "drawn from the seed"
    files = [(tmp_path / name / "predictions.csv").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_without_augmentation_the_first_view_alone_is_loaded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[TrainingData] = []

    def kept(*args: object) -> TrainingData:
        loaded.append(load_training_data(*args))  # type: ignore[arg-type]
        return loaded[-1]

    monkeypatch.setattr(load_module, "load_training_data", kept)
    seen = spied(monkeypatch)
    train(quick(store, tmp_path / "run", augment=False, epochs=1))
    assert loaded[0].views == ("identity",)
    assert loaded[0].pooled["neck"].shape[0] == 20
    assert seen["train"]
    assert not any(views is not None for views in seen["train"])


def test_the_bytes_of_all_views_are_known_before_they_are_read(store: Store) -> None:
    data = load_scaled(store, divide_by_kernel(store, ("patch", "neck"), 4), 24, views=DIHEDRAL)
    held = [data.images, *data.pooled.values()]
    expected = sum(tensor.nbytes for tensor in held)
    plan = InputPlan.of(store, divide_by_kernel(store, ("patch", "neck"), 4), 24, DIHEDRAL)
    assert plan.count_bytes() == expected


@pytest.mark.parametrize("attention", ["none", "shuffled", "random", "global"])
def test_views_go_with_every_kind_of_attention(
    store: Store, tmp_path: Path, attention: str
) -> None:
    config = quick(store, tmp_path / "run", attention=attention, epochs=1)
    assert 0 <= train(config).members[0].scores["auc"] <= 1
