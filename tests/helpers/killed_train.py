"""Train in a process that is killed, with SIGKILL, right after its n-th epoch, each of them saved.

python killed_train.py STORE OUT EPOCHS_UNTIL_DEATH
"""

import os
import signal
import sys
from pathlib import Path

import torch
from rich.console import Console

from samcache.train.config import TrainConfig
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.run import train


def config(store: str, out: str) -> TrainConfig:
    """A training whose every source of randomness is at work."""
    return TrainConfig(
        Path(store), Path(out), epochs=3, seeds=(0, 1), image_size=16, batch_size=8,
        backbone="timm:resnet10t", mixup=0.4, label_smoothing=0.1, balanced_sampling=True,
    )  # fmt: skip


def main() -> None:
    store, out, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
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
    train(config(store, out), Console(stderr=True))


if __name__ == "__main__":
    main()
