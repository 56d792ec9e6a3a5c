"""Grades in their order: the conditional ordinal loss CORN, or cross-entropy."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.train.scores.metrics import find_medians, score_grades
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Loss, LossOptions, Target
from samcache.train.tasks.targets.classes import CrossEntropy
from samcache.train.tasks.targets.graded import GradedTarget


@dataclass(frozen=True)
class Grades(GradedTarget):
    """One grade of K, lowest first; labels (n,) int64 index ``names``, outputs are probabilities.

    corn: whether the network gives the K - 1 logits of CORN (Shi, Cao and Raschka 2023,
    arXiv 2111.08851), else one for each grade. A sample's grade is the median of its
    probabilities, which has the least expected error in grades.
    """

    names: tuple[str, ...]
    corn: bool = False

    kind = "ordinal"
    losses = ("cross-entropy", "corn")
    selection = "kappa"
    metrics = ("kappa", "mae", "accuracy", "balanced_accuracy", "f1", "auc", "ece")

    @property
    def logits(self) -> int:
        return len(self.names) - self.corn

    def activate(self, logits: Tensor) -> Tensor:
        if not self.corn:
            return logits.softmax(dim=1)
        above = logits.sigmoid().cumprod(dim=1)  # P(grade > k), never rising with k
        one, none = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        return torch.cat([one, above], dim=1) - torch.cat([above, none], dim=1)

    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:
        if self.corn:
            self.check_loss(options, ("class_weights", "label_smoothing"))
            return Corn(len(self.names))
        self.check_loss(options)
        weight = self.weigh_names(labels) if options.class_weights else None
        return CrossEntropy(weight, options.label_smoothing)

    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        scores = self.score(labels, outputs, np.ones((1, len(labels))))
        return {name: float(scores[name][0]) for name in ("accuracy", "auc", "kappa")}

    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        return score_grades(labels, outputs, self.names, weights)

    def find_main_output(self, outputs: Floats) -> Ints:
        return find_medians(outputs)

    def is_comparable(self, other: Target) -> bool:
        return isinstance(other, Grades) and self.names == other.names


@dataclass(frozen=True)
class Corn:
    """CORN: for every grade but the last, whether a sample that reaches it goes beyond it."""

    grades: int

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        steps = torch.arange(self.grades - 1, device=labels.device)
        beyond = (labels[:, None] > steps).to(torch.float32).expand(logits.shape)
        reached = (labels[:, None] >= steps).to(torch.float32).expand(logits.shape)
        loss = F.binary_cross_entropy_with_logits(logits.float(), beyond, reduction="none")
        return (loss * reached).sum()

    def count(self, labels: Tensor) -> Tensor | int:
        return (labels + 1).clamp(max=self.grades - 1).sum()
