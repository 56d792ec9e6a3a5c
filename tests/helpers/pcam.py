"""PatchCamelyon's six files, with few images."""

from pathlib import Path

import h5py
import numpy as np

RNG = np.random.default_rng(5)


def pcam(folder: Path) -> dict[str, np.ndarray]:
    """Files named and shaped as PatchCamelyon's; the images of each split."""
    made = {}
    for split, count in (("train", 12), ("valid", 4), ("test", 6)):
        made[split] = RNG.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        stem = f"camelyonpatch_level_2_split_{split}"
        with h5py.File(folder / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=made[split], chunks=(2, 96, 96, 3), compression="gzip")
        with h5py.File(folder / f"{stem}_y.h5", "w") as file:
            file["y"] = (np.arange(count) % 2).reshape(-1, 1, 1, 1).astype(np.uint8)
    return made
