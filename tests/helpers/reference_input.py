"""The input of the stored reference values, and the places of a map that they keep."""

import numpy as np
import torch


def wave(size: int) -> torch.Tensor:
    """A smooth, asymmetric input, (1, 3, S, S), without a random generator."""
    y, x = np.mgrid[0:size, 0:size] / size
    planes = [np.sin(9 * x + 2 * y), np.cos(5 * y * y - x), np.sin(17 * x * y) + y]
    return torch.from_numpy(np.stack(planes)[None]).float()


def sampled(values: torch.Tensor) -> np.ndarray:
    """Sixteen channels at 8 x 8 places of a (1, C, h, w) map, (16, 8, 8) float32."""
    _, channels, height, width = values.shape
    return values[0, :: channels // 16, :: height // 8, :: width // 8][:16].numpy()
