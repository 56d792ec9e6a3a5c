"""One class of several: softmax and cross-entropy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.train.scores.metrics import compute_accuracy, compute_macro_auc, score_weighted
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Loss, LossOptions, Target


@dataclass(frozen=True)
class Classes(Target):
    """One class of K; labels (n,) int64 index ``names``, outputs are probabilities.

    ordered: whether quadratic kappa is reported too, for classes that are grades in their order.
    """

    names: tuple[str, ...]
    ordered: bool = False

    kind = "class"
    graded = True
    losses = ("cross-entropy",)
    selection = "auc"
    metrics = ("accuracy", "balanced_accuracy", "f1", "auc", "ece")

    def activate(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)

    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:
        self.check_loss(options)
        weight = weigh_classes(labels, len(self.names)) if options.class_weights else None
        return CrossEntropy(weight, options.label_smoothing)

    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        return {
            "accuracy": compute_accuracy(labels, outputs),
            "auc": compute_macro_auc(labels, outputs),
        }

    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        return score_weighted(labels, outputs, self.names, weights, self.ordered)

    def find_strata(self, labels: Labels) -> Ints:
        return labels

    def find_absent(self, labels: Labels) -> tuple[str, ...]:
        counts = np.bincount(labels, minlength=len(self.names))
        return tuple(name for name, count in zip(self.names, counts, strict=True) if not count)

    def count_sides(self, labels: Labels) -> tuple[int, int]:
        rarest = int(np.bincount(labels, minlength=len(self.names)).min())
        return rarest, len(labels) - rarest

    def encode(self, values: pd.DataFrame) -> Labels:
        column = values.iloc[:, 0]
        if unknown := sorted(set(column) - set(self.names)):
            raise ConfigError(
                f"{column.name} holds {unknown[0]!r}, and the classes are {', '.join(self.names)}: "
                "give it one of these names, or leave these rows out",
                hint="labels",
            )
        return column.map(self.names.index).to_numpy(dtype=np.int64)

    def find_told(self, outputs: Floats) -> Ints:
        told: Ints = outputs.argmax(axis=1)
        return told

    def decide(self, outputs: Floats) -> npt.NDArray[np.object_]:
        found: npt.NDArray[np.object_] = np.array(self.names, dtype=object)[outputs.argmax(axis=1)]
        return found

    def write_labels(self, labels: Labels) -> dict[str, npt.NDArray[np.object_]]:
        return {"label": np.array(self.names, dtype=object)[labels]}

    def read_labels(self, table: pd.DataFrame) -> Labels:
        if not table["label"].isin(self.names).all():
            raise ValueError("holds labels that are none of the run's classes")
        return table["label"].map(self.names.index).to_numpy(dtype=np.int64)


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


def weigh_classes(labels: Tensor, classes: int) -> Tensor:
    """(K,) weights inverse to the frequency of each class among labels (n,)."""
    frequency = torch.bincount(labels, minlength=classes) / len(labels)
    return 1 / (classes * frequency)
