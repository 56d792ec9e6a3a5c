"""A number in its unit, such as an age or a score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.cache.labels.classes import parse_number
from samcache.train.scores.numbers import score_numbers
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Loss, LossOptions, Target

_STRATA = 10  # quantiles, of which folds and fractions hold equal shares
_LEAST = 5  # samples in each


@dataclass(frozen=True)
class Number(Target):
    """One number; labels (n,) float32 and outputs (n, 1) are in its unit.

    The network learns it in standard deviations around the mean of the training rows.
    """

    names: tuple[str, ...]  # one, what is measured
    unit: str = ""

    kind = "number"
    losses = ("huber", "squared")
    selection = "mae"
    metrics = ("mae", "rmse", "bias", "r2", "spearman")
    metrics_of_names = ()
    lower_is_better = True
    scaled = True

    def activate(self, logits: Tensor) -> Tensor:
        return logits

    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:  # noqa: ARG002
        refused = ("class_weights", "balanced_sampling", "label_smoothing")
        return NumberLoss(self.check_loss(options, refused) == "huber")

    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        scores = self.score(labels, outputs, np.ones((1, len(labels))))
        return {name: float(scores[name][0]) for name in ("mae", "r2")}

    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        return score_numbers(labels, outputs[:, 0], weights)

    def find_strata(self, labels: Labels) -> Ints:
        """Quantiles of the labels, as many as have enough samples."""
        count = max(1, min(_STRATA, len(labels) // _LEAST))
        edges = np.quantile(labels, np.linspace(0, 1, count + 1)[1:-1])
        codes = np.searchsorted(np.unique(edges), labels, side="right")
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)

    def find_absent(self, labels: Labels) -> tuple[str, ...]:
        """The number itself where fewer than two samples have one."""
        return () if len(labels) > 1 else self.names

    def count_sides(self, labels: Labels) -> tuple[int, int]:
        return len(labels), len(labels)

    def encode(self, values: pd.DataFrame) -> Labels:
        column = values.iloc[:, 0]
        numbers = column.map(parse_number)
        odd = column[numbers.isna()]
        if len(odd):
            raise ConfigError(
                f"{column.name} holds {odd.iloc[0]!r}, which is no number: correct it, leave these "
                "rows out, or choose another kind",
                hint="kind",
            )
        return numbers.to_numpy(dtype=np.float32)

    def find_main_output(self, outputs: Floats) -> Ints:
        return np.zeros(len(outputs), np.int64)

    def describe_outputs(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.names[0]}{unit}, averaged over the members"

    def decide(self, outputs: Floats) -> npt.NDArray[np.object_]:
        return np.array([f"{value:.4g}" for value in outputs[:, 0]], dtype=object)

    @property
    def output_columns(self) -> tuple[str, ...]:
        return ("value",)

    def write_labels(self, labels: Labels) -> dict[str, npt.NDArray[np.object_]]:
        return {"label": labels.astype(object)}

    def read_labels(self, table: pd.DataFrame) -> Labels:
        values = pd.to_numeric(table["label"], errors="coerce").to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds labels that are no numbers")
        return values


@dataclass(frozen=True)
class NumberLoss:
    """Huber's loss with a bend at one standard deviation, or the squared error."""

    huber: bool

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        found, wanted = logits.float()[..., 0], labels.expand(logits.shape[:2])
        if self.huber:
            return F.huber_loss(found, wanted, reduction="sum")
        return F.mse_loss(found, wanted, reduction="sum")

    def count(self, labels: Tensor) -> Tensor | int:
        return len(labels)
