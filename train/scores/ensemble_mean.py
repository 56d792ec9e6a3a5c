"""The mean that makes one prediction of several members."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Probabilities = TypeVar("Probabilities", Tensor, npt.NDArray[np.float32], npt.NDArray[np.float64])


def average_members(probabilities: Probabilities) -> Probabilities:
    """Average the members' probabilities (M, n, K) to those of the ensemble, (n, K)."""
    mean: Probabilities = probabilities.mean(0)
    return mean
