"""A run of each kind of answer from one store, with subgroups, and the table that it is from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from quick_training import quick
from reported_runs import SCRIPT

from samcache.cache.store import Store
from samcache.train.run import train
from samcache.train.tasks.options import TaskOptions

KINDS: dict[str, dict[str, Any]] = {
    "class": {"target": ("side",)},
    "ordinal": {"target": ("grade",), "kind": "ordinal"},
    "multilabel": {"target": (SCRIPT, "even", "bright")},
    "number": {"target": ("age",), "kind": "number", "unit": "years"},
}


@pytest.fixture(scope="session")
def runs_of_kinds(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> a run's folder; two folds of forty images, so that each image is tested once."""
    folder = tmp_path_factory.mktemp("kinds")
    store = Store(toy_store)
    table = _write_table(store, folder / "labels.csv")
    torch.set_num_threads(1)
    for kind, options in KINDS.items():
        task = TaskOptions(labels=table, by=("sex", "site"), **options)
        shares = (0.5, 1.0) if kind == "number" else (1.0,)
        config = quick(store, folder / kind, task=task, folds=2, join=True, attention="none")
        train(replace(config, fractions=shares))
    return {kind: folder / kind for kind in KINDS}


def _write_table(store: Store, path: Path) -> Path:
    """Answers that the images' brightness tells in part; some findings are unknown."""
    samples = store.samples
    place, bright = np.arange(len(samples)), samples["label"].to_numpy()
    columns = {
        "file": samples["id"],
        "side": np.where(bright == 1, "left", "right"),
        "grade": bright + place % 5 // 3,
        SCRIPT: np.where(place % 7 == 0, "", place % 2),
        "even": np.where(place % 5 == 0, "-1", (place // 2) % 2),
        "bright": bright,
        "age": 30 + 0.5 * place + 20 * bright,
        "sex": np.where(place % 4 < 2, "f", SCRIPT),
        "site": np.where(place < 4, "small", ""),
    }
    pd.DataFrame(columns).to_csv(path, index=False)
    return path
