"""Small sweeps, and trainings replaced by scores of their options."""

from pathlib import Path

import numpy as np
import pytest
from tiny_extraction import write_npz

from samcache.cache.store import Store
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.train import sweep as sweep_module
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.fit.training import EpochMetrics
from samcache.train.search.dimensions import parse_search
from samcache.train.search.trials import TrialsTable
from samcache.train.sweep import SweepConfig, sweep
from samcache.train.tasks.splits import Member

SEARCH = ("lr=1e-4..1e-2", "kernel=2|4", "fusion=gate|residual", "taps=neck:stage4|late:stage3")


def sweep_store(folder: Path, checkpoint: Path) -> Store:
    """A store of a few small images."""
    source = write_npz(folder / "toy.npz")
    options = ExtractOptions(source, folder / "toy.zarr", "vit_tiny", checkpoint, pool=2)
    extract(options)
    return Store(options.store)


def options(store: Store, out: Path, trials: int, search: tuple[str, ...] = SEARCH) -> SweepConfig:
    base = TrainConfig(
        store.location, out, seeds=(0,), epochs=4, image_size=16, batch_size=8,
        backbone="timm:test_resnet",
    )  # fmt: skip
    return SweepConfig(base, parse_search(search), trials)


def run(config: SweepConfig) -> TrialsTable:
    return sweep(config)


def interrupted(config: SweepConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep whose next training is stopped by Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "train_member", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config)


def score_in_place_of_training(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Trainings replaced by scores of their options; what was asked for."""
    seen: list[TrainConfig] = []

    def score(member: Member, _: TrainingData, config: TrainConfig, *rest: object) -> None:
        on_epoch = rest[1]
        assert len(member.test) == 0
        seen.append(config)
        for epoch in range(1, config.epochs + 1):
            auc = 0.9 - abs(np.log10(config.lr) + 2.5) / 5 - 0.05 * (config.fusion == "gate")
            told = {"accuracy": 0.5, "auc": auc - 0.2 / epoch}, "auc", 0.1
            line = EpochMetrics(0, None, 1.0, epoch, config.lr, 0.5, 0.5, *told)
            on_epoch(line)  # type: ignore[operator]

    monkeypatch.setattr(sweep_module, "train_member", score)
    return seen
