"""Trainings that take a second, for tests."""

from dataclasses import replace
from pathlib import Path

from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.run import train
from samcache.train.runs.write_run import Results


def quick(store: Store, out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        Path(store.location), out, epochs=2, seeds=(0, 1), image_size=32, batch_size=8,
        backbone="timm:test_resnet",
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


def run(config: TrainConfig) -> Results:
    return train(config)
