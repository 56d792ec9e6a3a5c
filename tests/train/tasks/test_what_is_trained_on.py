"""What ``train`` gives to a training, and what a training makes of its options."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from loading import find_sides, load_scaled
from torch import Tensor

from samcache.cache.store import Store
from samcache.train import run as run_module
from samcache.train.config import TrainConfig
from samcache.train.data.controls import fill_with_noise
from samcache.train.data.dataset import TrainingData
from samcache.train.data.scaling import scale_inputs
from samcache.train.fit import training as loop
from samcache.train.run import train
from samcache.train.tasks.splits import Member
from samcache.train.tasks.targets.base import Target


@pytest.fixture
def config(store: Store, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        store.location, tmp_path / "run", backbone="timm:test_resnet", epochs=2, seeds=(0,),
        image_size=16, batch_size=8,
    )  # fmt: skip


def run(config: TrainConfig) -> None:
    train(config)


class Stop(Exception):  # noqa: N818  (no error: the test has seen what it wants)
    """Ends a run where its first training would begin."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function: the member and the data that a run's first training is given."""

    def stop(member: Member, data: TrainingData, *_: object) -> None:
        raise Stop(member, data)

    def first(config: TrainConfig) -> tuple[Member, TrainingData]:
        monkeypatch.setattr(run_module, "train_member", stop)
        with pytest.raises(Stop) as stopped:
            run(config)
        return stopped.value.args  # type: ignore[return-value]

    return first


def loaded(config: TrainConfig, store: Store) -> TrainingData:
    return load_scaled(store, find_sides(config, store), config.image_size)


def maps_of(data: TrainingData, rows: Tensor) -> dict[str, Tensor]:
    return data.make_inputs(rows)[1]


def test_slca_is_given_each_images_own_maps(config: TrainConfig, store: Store, begun: Any) -> None:
    member, data = begun(config)
    found, own = maps_of(data, member.test), maps_of(loaded(config, store), member.test)
    assert found.keys() == own.keys() != set()
    assert all(torch.equal(found[level], own[level]) for level in own)


def test_shuffled_is_given_anothers(config: TrainConfig, store: Store, begun: Any) -> None:
    member, data = begun(replace(config, attention="shuffled"))
    own = loaded(config, store)
    for rows in (member.train, member.val, member.test):
        found, others = maps_of(data, rows)["neck"], maps_of(own, rows)["neck"]
        assert not any(torch.equal(a, b) for a, b in zip(found, others, strict=True))
        assert torch.equal(data.make_inputs(rows)[0], own.make_inputs(rows)[0]), (
            "the images are their own"
        )


def test_random_is_given_noise(config: TrainConfig, store: Store, begun: Any) -> None:
    config = replace(config, attention="random", overwrite=True)
    member, data = begun(config)
    noise = loaded(config, store)
    assert not torch.equal(data.pooled["neck"], noise.pooled["neck"])
    fill_with_noise(noise)
    assert all(torch.equal(data.pooled[level], noise.pooled[level]) for level in noise.pooled)
    other, others = begun(replace(config, seeds=(1,)))
    assert torch.equal(member.train, other.train)
    found, elsewhere = maps_of(data, member.train)["neck"], maps_of(others, member.train)["neck"]
    assert not torch.equal(found, elsewhere), "each seed has noise of its own"
    _, again = begun(config)
    assert torch.equal(found, maps_of(again, member.train)["neck"])


@pytest.mark.parametrize("changes", [{"folds": 2}, {"fractions": (0.25,)}], ids=str)
def test_scales_are_those_of_the_members_own_training_rows(
    config: TrainConfig, store: Store, begun: Any, changes: dict[str, Any]
) -> None:
    member, data = begun(replace(config, join=True, **changes))
    own = scale_inputs(loaded(replace(config, join=True), store), store, member.train)
    splits = loaded(replace(config, join=True), store)
    for name, scale in own.list_scales().items():
        found = data.list_scales()[name]
        assert torch.equal(found.mean, scale.mean), name
        assert not torch.equal(found.mean, splits.list_scales()[name].mean), name


@pytest.mark.parametrize("augment", [True, False])
def test_images_are_changed_where_it_is_asked_for(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, augment: bool
) -> None:
    changed = []

    def note(_: object, images: Tensor, *__: object) -> Tensor:
        changed.append(len(images))
        return images

    monkeypatch.setattr(loop.Photometric, "__call__", note)
    run(replace(config, augment=augment))
    assert changed == ([8] * 3 * config.epochs if augment else []), "training batches alone"


def test_mixup_asks_for_both_partners_labels(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []
    whole = loop.Objective.__call__

    def note(self: loop.Objective, logits: Tensor, labels: Tensor, batch: Tensor) -> Tensor:
        asked.append(labels)
        return whole(self, logits, labels, batch)

    monkeypatch.setattr(loop, "draw_mixing_shares", lambda _, batches, *__: [0.75] * batches)
    monkeypatch.setattr(loop.Objective, "__call__", note)
    run(replace(config, epochs=1))
    assert len(asked) == 2 * 3
    for own, partners in zip(asked[::2], asked[1::2], strict=True):
        assert torch.equal(own.sort().values, partners.sort().values), "of the same batch"
    assert any(not torch.equal(*pair) for pair in zip(asked[::2], asked[1::2], strict=True))


def test_class_weights_are_of_the_members_training_labels(
    config: TrainConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    whole = loop.Objective.of

    def note(options: TrainConfig, target: Target, labels: Tensor) -> loop.Objective:
        seen.append(labels)
        return whole(options, target, labels)

    monkeypatch.setattr(loop.Objective, "of", note)
    run(replace(config, class_weights=True, epochs=1))
    samples = store.samples
    (given,) = seen
    assert given.tolist() == samples[samples["split"] == "train"]["label"].tolist()


def test_the_learning_rate_follows_its_schedule(config: TrainConfig) -> None:
    run(replace(config, schedule="cosine", epochs=4))
    rates = pd.read_csv(config.out / "metrics.csv")["lr"]
    assert rates.is_monotonic_decreasing
    assert rates.iloc[0] < config.lr
    assert rates.iloc[-1] == pytest.approx(0, abs=1e-9)
