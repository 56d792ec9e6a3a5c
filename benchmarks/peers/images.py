"""Image files and their labels.csv for the parts that run whole systems."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(npz: Path | None, folder: Path, limit: int | None) -> Path:
    """PNG files and labels.csv (file, split, class) of a MedMNIST file, or of synthetic noise.

    npz: None draws grey noise whose brightness tells two classes apart. limit: of all images,
    the splits in proportion.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = dict(np.load(npz)) if npz else synthetic(limit or 60)
    total = sum(len(arrays[f"{split}_images"]) for split in ("train", "val", "test"))
    share = min(1.0, (limit or total) / total)
    lines = ["file,split,class"]
    for split in ("train", "val", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].ravel()
        for row in range(max(2, round(len(images) * share))):
            name = f"{split}-{row:05d}.png"
            Image.fromarray(images[row]).save(folder / name)
            lines.append(f"{name},{split},{labels[row]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def synthetic(count: int) -> dict[str, np.ndarray]:
    """MedMNIST-shaped noise, seeded; later classes are brighter."""
    rng, arrays = np.random.default_rng(7), {}
    for split, share in {"train": 0.6, "val": 0.2, "test": 0.2}.items():
        labels = np.arange(round(count * share)) % 2
        noise = rng.integers(0, 120, (len(labels), 28, 28))
        arrays[f"{split}_images"] = (noise + 60 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    return arrays
