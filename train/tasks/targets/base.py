"""What every kind of answer has: its outputs, its loss, its metrics, and its columns in files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.train.tasks.options import KindName

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Labels = npt.NDArray[Any]  # as the kind has them


@dataclass(frozen=True)
class LossOptions:
    """The options of a training that change its loss; loss: by name, None for the kind's own."""

    loss: str | None = None
    class_weights: bool = False
    balanced_sampling: bool = False
    label_smoothing: float = 0.0


class Loss(Protocol):
    """A loss that is a sum over what a batch holds, divided by how much that is."""

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over some heads' logits (H, B, L), a scalar; labels: (B, …)."""

    def count(self, labels: Tensor) -> Tensor | int:
        """What the sum over one head is divided by, for the labels of all of a batch."""


class Target(ABC):
    """What a run predicts; n samples, L logits, K outputs.

    names: the K outputs. Labels are (n,) or (n, K), of the type that the kind says; outputs are
    (n, K) float, and the mean over members is the mean of their outputs.
    """

    kind: ClassVar[KindName]
    losses: ClassVar[tuple[str, ...]]  # that the kind can be trained with, its own first
    selection: ClassVar[str]  # the metric of validation that chooses an epoch
    lower_is_better: ClassVar[bool] = False
    scaled: ClassVar[bool] = False  # whether labels are standardised for the loss
    graded: ClassVar[bool] = False  # whether each sample is of one of the names
    metrics: ClassVar[tuple[str, ...]]  # of ``score``, but for those of single names
    metrics_of_names: ClassVar[tuple[str, ...]] = ("auc", "ap")  # each also as METRIC:NAME
    names: tuple[str, ...]

    @property
    def logits(self) -> int:
        """L, how many numbers the network gives for a sample."""
        return len(self.names)

    @abstractmethod
    def activate(self, logits: Tensor) -> Tensor:
        """Outputs (B, K) from logits (B, L), in standardised units where labels are scaled."""

    @abstractmethod
    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:
        """The loss for some training rows; labels: theirs, standardised where labels are scaled.

        Raises ConfigError for an option that the kind does not have.
        """

    @abstractmethod
    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        """The metrics of an epoch, ``selection`` among them."""

    @abstractmethod
    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        """Every metric by name, (R,) float64 each, under R weightings (R, n) of the samples."""

    def find_influences(self, labels: Labels, outputs: Floats) -> dict[str, Floats]:
        """How each sample moves each AUC, (n,) each (``scores.delong``); none without an AUC."""
        del labels, outputs
        return {}

    @abstractmethod
    def find_strata(self, labels: Labels) -> Ints:
        """(n,) codes from 0: folds and fractions hold equal shares of each."""

    @abstractmethod
    def find_absent(self, labels: Labels) -> tuple[str, ...]:
        """What some samples lack, and every part of a training needs: classes, findings."""

    @abstractmethod
    def count_sides(self, labels: Labels) -> tuple[int, int]:
        """Samples of the rarest class or finding, and the others; of a number, all and all."""

    @abstractmethod
    def encode(self, values: pd.DataFrame) -> Labels:
        """The labels of n lines of text (n, columns); raises ConfigError for a strange one."""

    def find_unlabelled(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """Which of n labels say nothing, (n,)."""
        return np.zeros(len(labels), np.bool_)

    @abstractmethod
    def find_main_output(self, outputs: Floats) -> Ints:
        """The output (n,) that the answer follows, such as the likeliest class's probability."""

    @abstractmethod
    def decide(self, outputs: Floats) -> npt.NDArray[np.object_]:
        """The answer (n,) in words that a table shows beside the outputs."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of predictions.csv that hold the labels."""
        return ("label",)

    @property
    def output_columns(self) -> tuple[str, ...]:
        """The columns of predictions.csv that hold the outputs."""
        return tuple(f"p_{name}" for name in self.names)

    @abstractmethod
    def write_labels(self, labels: Labels) -> dict[str, npt.NDArray[np.object_]]:
        """Labels as the values of ``label_columns``."""

    @abstractmethod
    def read_labels(self, table: pd.DataFrame) -> Labels:
        """The labels of some lines of predictions.csv; raises ValueError where they are none."""

    def describe_outputs(self) -> str:
        """What the outputs are, for the description of an exported program."""
        return "each class's probability, averaged over the members"

    def to_json(self) -> dict[str, Any]:
        """The kind and its fields as plain values, for ``choose.read_target``."""
        return {"kind": self.kind, **vars(self)}

    def is_comparable(self, other: "Target") -> bool:
        """Whether the outputs of another target mean the same."""
        return self == other

    def rank_epoch(self, scores: Mapping[str, float], loss: float) -> tuple[float, float]:
        """A pair that is higher for a better epoch: by ``selection``, then by the loss."""
        value = scores[self.selection]
        return (-value if self.lower_is_better else value), -loss

    def check_loss(self, options: LossOptions, refused: tuple[str, ...] = ()) -> str:
        """The name of the loss; raises ConfigError for one of another kind and for options.

        refused: fields of ``options`` that say nothing for this kind.
        """
        if options.loss is not None and options.loss not in self.losses:
            raise ConfigError(
                f"loss {options.loss} is not one for the kind {self.kind}, which has "
                f"{' and '.join(self.losses)}: choose one of these, or another kind",
                hint="loss kind",
            )
        for name in refused:
            if getattr(options, name):
                raise ConfigError(
                    f"{name} is an option of classes, and the kind is {self.kind}: leave it out",
                    hint=name,
                )
        return options.loss or self.losses[0]
