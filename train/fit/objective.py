"""What a training minimises: the mean cross-entropy of all heads over a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.train.config import TrainConfig
from samcache.train.fit import distributed


@dataclass(frozen=True)
class Objective:
    """Cross-entropy; weight: (K,) of each class, None for the same; smoothing: of the labels."""

    weight: Tensor | None
    smoothing: float

    @classmethod
    def of(cls, config: TrainConfig, labels: Tensor, classes: int) -> "Objective":
        """As the options say; class weights are inverse to the frequency among training labels."""
        if not config.class_weights:
            return cls(None, config.label_smoothing)
        frequency = torch.bincount(labels, minlength=classes) / len(labels)
        return cls(1 / (classes * frequency), config.label_smoothing)

    def __call__(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """This process's part of the mean loss of all heads, from their logits (H, B, K).

        labels: (B,) int64; whole: the labels of all of the batch. The mean over the processes is
        the (weighted) mean over the batch, as in one process.
        """
        summed = F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.repeat(len(logits)),
            self.weight,
            label_smoothing=self.smoothing,
            reduction="sum",
        )
        total = len(whole) if self.weight is None else self.weight[whole].sum()
        return summed * distributed.count_processes() / (total * len(logits))
