"""The stores, by ``samcache extract``."""

import subprocess
import sys
from pathlib import Path

from compared_encoders import PAPER, Cell, ComparedEncoder, find_folder
from experiment import missing_images, samcache


def extract_store(cell: Cell, work: Path) -> None:
    """Extract what a cell's store still lacks."""
    if missing_images(work / cell.store) != 0:
        samcache(make_words(cell, find_checkpoint(cell.encoder, work)), work)


def make_words(cell: Cell, checkpoint: Path) -> list[str]:
    """The words after ``samcache``, seen from the work folder."""
    source = find_folder("SAMCACHE_DATA") / cell.dataset.source
    words = ["extract", source, "--store", cell.store, "--encoder", cell.encoder.name]
    words += ["--checkpoint", checkpoint, "--image-size", cell.image_size, "--precision", "float32"]
    return [str(word) for word in words]


def find_checkpoint(encoder: ComparedEncoder, work: Path) -> Path:
    """The encoder's file of weights; EfficientNet-Lite0's is written first where it is missing."""
    if encoder.weights:
        return find_folder("SAMCACHE_WEIGHTS") / encoder.weights
    path = work / "lite0.safetensors"
    if not path.exists():
        script = PAPER / "lite0_weights.py"
        subprocess.run([sys.executable, script, path], check=True)
    return path
