"""What a training minimises: the mean loss of all heads over a batch."""

from dataclasses import dataclass

from torch import Tensor

from samcache.train.config import TrainConfig
from samcache.train.fit import distributed
from samcache.train.tasks.targets.base import Loss, LossOptions, Target


@dataclass(frozen=True)
class Objective:
    """The mean of a target's loss."""

    loss: Loss

    @classmethod
    def of(cls, config: TrainConfig, target: Target, labels: Tensor) -> "Objective":
        """As the options say, for the labels of the training rows; raises as ``make_loss``."""
        return cls(target.make_loss(read_loss_options(config), labels))

    def __call__(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """This process's part of the mean loss of all heads, from their logits (H, B, L).

        labels: (B, …); whole: the labels of all of the batch. The mean over the processes is the
        (weighted) mean over the batch, as in one process.
        """
        summed = self.loss.sum(logits, labels)
        return summed * distributed.count_processes() / (self.loss.count(whole) * len(logits))


def read_loss_options(config: TrainConfig) -> LossOptions:
    """The options of a training that change its loss."""
    return LossOptions(
        config.task.loss, config.class_weights, config.balanced_sampling, config.label_smoothing
    )
