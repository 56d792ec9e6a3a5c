"""The learning rate over a training, step by step."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from samcache.train.config import TrainConfig


def make_scheduler(optimizer: Optimizer, config: TrainConfig, samples: int) -> LRScheduler:
    """Up to ``lr`` and down again, or down from it, over all steps on so many samples."""
    steps = math.ceil(samples / config.batch_size) * config.epochs
    if config.schedule == "onecycle":
        return OneCycleLR(optimizer, config.lr, total_steps=steps)
    return CosineAnnealingLR(optimizer, steps)
