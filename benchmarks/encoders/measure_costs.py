"""What an image costs: CPU time, bytes in the store, and the encoder's parameters."""

import time
from pathlib import Path

import pandas as pd
import torch
from compared_encoders import DATASETS, ENCODERS, IMAGE_SIZE, Cell, ComparedEncoder
from extract_stores import find_checkpoint

from samcache.cache.care.info import describe
from samcache.cache.store import Store
from samcache.extract.encoders.load import Encoder
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of

COSTS = "costs.csv"
ROUNDS = 20


def measure_costs(work: Path) -> None:
    """Measure every encoder whose store is there, side by side, and write the table of costs.

    The time is the CPU time of one thread, the least of ROUNDS rounds in which the encoders take
    turns, so that other work on the machine hardly counts.
    """
    torch.set_num_threads(1)
    stores = {
        encoder: Store(work / place)
        for encoder in ENCODERS
        if (work / (place := Cell(DATASETS[0], encoder).store) / "zarr.json").exists()
    }
    loaded = {encoder: _load(encoder, store, work) for encoder, store in stores.items()}
    times: dict[ComparedEncoder, list[float]] = {encoder: [] for encoder in loaded}
    for _ in range(ROUNDS):
        for encoder, built in loaded.items():
            times[encoder].append(_time_image(built))
    rows = [
        {
            "encoder": encoder.short,
            "parameters": sum(weight.numel() for weight in built.model.parameters()),
            "seconds": min(times[encoder]),
            "feature_bytes": _count_feature_bytes(stores[encoder]),
        }
        for encoder, built in loaded.items()
    ]
    pd.DataFrame(rows).to_csv(work / COSTS, index=False, float_format="%.4g")


def _load(encoder: ComparedEncoder, store: Store, work: Path) -> Encoder:
    checkpoint = find_checkpoint(encoder, work)
    return load_encoder_of(store.identity, GivenEncoder(checkpoint))


def _time_image(encoder: Encoder) -> float:
    """Seconds of CPU time for one image."""
    image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    start = time.process_time()
    with torch.inference_mode():
        encoder.model(image)
    return time.process_time() - start


def _count_feature_bytes(store: Store) -> float:
    """Bytes of an image's features in the store, of all levels."""
    found = describe(store)
    return sum(level["bytes"] for level in found["levels"].values()) / found["readable"]
