"""Train in a process that SIGKILL ends right after its n-th epoch; every epoch is saved."""

import os
import signal
from pathlib import Path

import torch

from samcache.train.config import TrainConfig
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.run import train


def config(store: str, out: str) -> TrainConfig:
    """A training whose every source of randomness is at work."""
    return TrainConfig(
        Path(store), Path(out), epochs=3, seeds=(0, 1), image_size=16, batch_size=8,
        backbone="timm:test_resnet", mixup=0.4, label_smoothing=0.1, balanced_sampling=True,
    )  # fmt: skip


def train_until_killed(store: str, out: str, epochs: str) -> None:
    """Train in this process, which dies after so many epochs."""
    left = int(epochs)
    torch.set_num_threads(1)
    save = Checkpoints.save

    def counted(self: Checkpoints, name: str, state: dict[str, object]) -> None:
        nonlocal left
        save(self, name, state)
        left -= "model" in state
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.save = counted  # type: ignore[method-assign, assignment]
    Checkpoints.due = True  # type: ignore[method-assign, assignment]
    train(config(store, out))
