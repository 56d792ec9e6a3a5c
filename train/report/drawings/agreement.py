"""How far predicted numbers agree with true ones, in words."""

import math
from dataclasses import dataclass

import numpy as np

from samcache.train.scores.metrics import Floats


@dataclass(frozen=True)
class Agreement:
    """Mean difference of predicted and true numbers, and the limits of agreement around it.

    low, high: the mean difference less and plus 1.96 standard deviations of the differences
    (Bland and Altman 1986).
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, labels: Floats, values: Floats) -> "Agreement":
        """From labels and predictions (n,), in the same unit."""
        difference = values.astype(np.float64) - labels
        mean = float(difference.mean())
        spread = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
        return cls(mean, mean - spread, mean + spread)

    def describe(self, unit: str) -> str:
        """Such as "Mean difference 0.94 years; 95 % of the differences lie between …"."""
        return (
            f"Mean difference {write_number(self.mean, unit)}; limits of agreement "
            f"{format_number(self.low)} to {write_number(self.high, unit)}."
        )


def format_number(value: float) -> str:
    """Three digits that count, without an exponent where a reader would not want one."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.3g}" if digits > 6 else f"{value:.{max(0, digits)}f}"


def write_number(value: float, unit: str) -> str:
    """A number with its unit, if it has one."""
    return f"{format_number(value)} {unit}".rstrip()
