"""Part 1: the stores, by ``samcache extract``."""

import os
import sys
from pathlib import Path

from experiment import Dataset, missing_images, samcache


def extract_features(dataset: Dataset, work: Path) -> None:
    """Extract what a data set's store still lacks, which goes on where it was interrupted."""
    store = work / f"{dataset.name}.zarr"
    if missing_images(store) != 0:
        samcache(command(dataset, store), work)


def command(dataset: Dataset, store: Path) -> list[str]:
    """The words after ``samcache``."""
    source = _name_folder("SAMCACHE_DATA") / dataset.source
    checkpoint = _name_folder("SAMCACHE_WEIGHTS") / "mobile_sam.pt"
    words = ["extract", source, "--store", store, "--encoder", "vit_t"]
    words += ["--checkpoint", checkpoint, "--image-size", 1024, "--precision", "float32"]
    return [str(word) for word in words]


def _name_folder(variable: str) -> Path:
    if not os.environ.get(variable):
        sys.exit(f"{variable} is not set: give the folder with the data sets, or the weights")
    return Path(os.environ[variable]).resolve()
