"""Synthetic ultrasound-like phantoms, for machines where no real images can be had.

Class 0 are spiculated lesions that cast a shadow, class 1 smooth ovals that brighten what lies
behind them, both under speckle. They resemble breast ultrasound only in outline and prove nothing
about it; wherever they are shown they are called synthetic.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

SIDE = 96
COUNTS = {"train": 240, "val": 60, "test": 100}


def draw_phantom(rng: np.random.Generator, spiculated: bool) -> npt.NDArray[np.uint8]:
    """One phantom, (96, 96) uint8."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    tissue = 0.5 + 0.12 * _smooth_noise(rng, (2.0, 12.0)) - 0.15 * y
    centre_y, centre_x = rng.uniform(0.38, 0.55), rng.uniform(0.35, 0.65)
    dy, dx = y - centre_y, x - centre_x
    angle, distance = np.arctan2(dy, dx), np.hypot(dy * rng.uniform(1.2, 1.5), dx)
    radius = rng.uniform(0.12, 0.2) * (1 + 0.06 * np.sin(2 * angle + rng.uniform(0, 6)))
    if spiculated:
        spikes = np.abs(np.sin(rng.integers(4, 8) * angle + rng.uniform(0, 6))) ** 3
        radius = radius * (0.75 + rng.uniform(0.4, 0.7) * spikes)
    lesion = gaussian_filter((distance < radius).astype(float), 1.0)
    behind = (np.abs(dx) < 0.8 * radius.mean()) & (dy > 0)
    echo = gaussian_filter(behind.astype(float), 3.0) * (-0.15 if spiculated else 0.12)
    echo *= rng.uniform(0.2, 1.0)
    signal = np.clip(tissue + echo, 0.05, 1) * (1 - rng.uniform(0.5, 0.8) * lesion)
    speckle = gaussian_filter(rng.rayleigh(1.0, (SIDE, SIDE)), (0.5, 0.9))
    decibels = np.log1p(8 * signal * speckle) / np.log(12)
    return (255 * np.clip(decibels, 0, 1)).astype(np.uint8)


def write_phantoms(path: Path, seed: int = 0) -> Path:
    """Write phantoms of both classes as a MedMNIST-shaped .npz."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, count in COUNTS.items():
        labels = rng.permutation(np.arange(count) % 2)
        images = [draw_phantom(rng, spiculated=label == 0) for label in labels]
        arrays[f"{split}_images"] = np.stack(images)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez_compressed(path, **arrays)
    return path


def _smooth_noise(rng: np.random.Generator, sigma: tuple[float, float]) -> npt.NDArray[np.float64]:
    noise: npt.NDArray[np.float64] = gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma)
    return noise / noise.std()
