"""A sweep whose trainings are quick scores of their learning rate, to be killed or shared."""

import time
from collections.abc import Callable
from pathlib import Path

from samcache.train import sweep as sweep_module
from samcache.train.config import TrainConfig
from samcache.train.fit.training import EpochMetrics
from samcache.train.search.dimensions import parse_search
from samcache.train.sweep import SweepConfig, sweep


def score(_member: object, _data: object, config: TrainConfig, *rest: object) -> None:
    """Three epochs of some milliseconds in place of ``train_member``."""
    on_epoch: Callable[[EpochMetrics], None] = rest[1]  # type: ignore[assignment]
    for epoch in range(1, config.epochs + 1):
        time.sleep(0.03)
        scores = {"auc": 1 - config.lr - 0.1 / epoch}
        on_epoch(EpochMetrics(0, None, 1.0, epoch, config.lr, 0.5, 0.5, scores, "auc", 0.25))


def sweep_quickly(store: str, out: str, trials: str) -> None:
    """Sweep in this process, and print the best command."""
    sweep_module.train_member = score  # type: ignore[assignment]
    base = TrainConfig(Path(store), Path(out), seeds=(0,), epochs=3, attention="none")
    found = sweep(SweepConfig(base, parse_search(("lr=1e-4..1e-2",)), int(trials)))
    print(found.command)
