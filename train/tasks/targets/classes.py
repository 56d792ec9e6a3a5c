"""One class of several: softmax and cross-entropy."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from samcache.train.scores.metrics import compute_accuracy, compute_macro_auc, score_weighted
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Loss, LossOptions
from samcache.train.tasks.targets.graded import GradedTarget


@dataclass(frozen=True)
class Classes(GradedTarget):
    """One class of K; labels (n,) int64 index ``names``, outputs are probabilities.

    ordered: whether quadratic kappa is reported too, for classes that are grades in their order.
    """

    names: tuple[str, ...]
    ordered: bool = False

    kind = "class"
    losses = ("cross-entropy",)
    selection = "auc"
    metrics = ("accuracy", "balanced_accuracy", "f1", "auc", "ece")

    def activate(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)

    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:
        self.check_loss(options)
        weight = self.weigh_names(labels) if options.class_weights else None
        return CrossEntropy(weight, options.label_smoothing)

    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        return {
            "accuracy": compute_accuracy(labels, outputs),
            "auc": compute_macro_auc(labels, outputs),
        }

    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        return score_weighted(labels, outputs, self.names, weights, self.ordered)

    def find_main_output(self, outputs: Floats) -> Ints:
        likeliest: Ints = outputs.argmax(axis=1)
        return likeliest


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of one class of K; weight: (K,) of each class, None for the same."""

    weight: Tensor | None
    smoothing: float

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.repeat(len(logits)),
            self.weight,
            label_smoothing=self.smoothing,
            reduction="sum",
        )

    def count(self, labels: Tensor) -> Tensor | int:
        return len(labels) if self.weight is None else self.weight[labels].sum()
