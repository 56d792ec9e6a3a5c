"""LitData as the cache between encoder and training, as processes of their own.

python litdata_job.py optimize LABELS.csv FOLDER ENCODER CHECKPOINT SIDE
python litdata_job.py read FOLDER
"""

import functools
import sys
from pathlib import Path
from typing import Any

import litdata
import pandas as pd
import torch
from eva_job import Images, Neck
from torch import Tensor


@functools.cache
def encoder(name: str, checkpoint: str, side: int) -> Neck:
    """Loaded once by each worker."""
    return Neck(name, checkpoint, side)


def encoded(place: list[Any]) -> dict[str, Tensor | int]:
    """One image's vector and label."""
    labels, split, row, name, checkpoint, side = place
    pixels, label, _ = images(labels, split, side)[row]
    with torch.inference_mode():
        vector = encoder(name, checkpoint, side)(pixels[None])[0]
    return {"vector": vector.clone(), "label": int(label)}


@functools.cache
def images(labels: str, split: str, side: int) -> Images:
    """A split's images."""
    return Images(labels, split, side)


def optimize(labels: str, folder: str, name: str, checkpoint: str, side: str) -> None:
    """Stage 1, with checkpoints of its own, from which it can go on."""
    table = pd.read_csv(labels)
    rows = table.groupby("split").cumcount()
    places = [  # lists: tuples do not compare equal to what its checkpoints give back
        [labels, split, int(row), name, checkpoint, int(side)]
        for split, row in zip(table["split"], rows, strict=True)
    ]
    litdata.optimize(
        encoded, places, folder, chunk_size=16, num_workers=1, use_checkpoint=True, verbose=False
    )


def read(folder: str) -> None:
    """What stage 2 would be given: samples, and the sum of their vectors."""
    data = litdata.StreamingDataset(folder)
    vectors = [sample["vector"] for sample in data]
    print(f"{len(vectors)} samples, sum {float(torch.stack(vectors).double().sum()):.9g}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    {"optimize": optimize, "read": read}[sys.argv[1]](*sys.argv[2:])
