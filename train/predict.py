"""``samcache predict``: a run's probabilities for the images of a store, shard by shard."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.data.load import read_inputs
from samcache.train.runs.ensemble import Ensemble, check_features
from samcache.train.runs.prediction_rows import PredictedShard
from samcache.train.runs.run import Run

_BATCH = 64  # images that go through a classifier at once


def predict_store(
    run: Run, ensemble: Ensemble, store: Store, samples: pd.DataFrame | None = None
) -> Iterator[PredictedShard]:
    """Predict every sample of a store, or some rows of ``Store.samples``, in their order.

    One shard is in memory at a time. Raises StoreError where the store's features are not the
    run's, or objects are damaged, ConfigError where weights give no numbers.
    """
    check_features(run, store)
    table = store.samples if samples is None else samples
    for shard, part in table.groupby(table["row"] // store.rows_per_shard):
        yield _predict(run, ensemble, store, int(str(shard)), part)


@torch.inference_mode()
def _predict(
    run: Run, ensemble: Ensemble, store: Store, shard: int, samples: pd.DataFrame
) -> PredictedShard:
    shape = len(ensemble.names), len(samples), len(run.classes)
    found = PredictedShard(samples, np.full(shape, np.nan, np.float32), {})
    rows = samples["row"].to_numpy()[found.readable]
    if len(rows) == 0:
        return found
    device = next(ensemble.buffers()).device
    images, pooled = read_inputs(store, shard, rows, run.inputs, run.image_size)
    parts = []
    for batch in torch.split(torch.arange(len(rows)), _BATCH):
        maps = {level: values[batch].to(device) for level, values in pooled.items()}
        parts.append(ensemble.predict_each(images[batch].to(device), maps).cpu())
    each = torch.cat(parts, dim=1)
    _check_numbers(run, ensemble, each)
    found.probabilities[:, found.readable] = each.numpy()
    return PredictedShard(samples, found.probabilities, pooled)


def _check_numbers(run: Run, ensemble: Ensemble, each: Tensor) -> None:
    """Raise ConfigError where a member's probabilities (M, n, K) are no numbers.

    Its training's own were: weights that overflow now were changed since.
    """
    for name, values in zip(ensemble.names, each, strict=True):
        if not values.isfinite().all():
            raise ConfigError(
                f"{run.find_weights(name)} is damaged: its predictions are not numbers; train the "
                "run again"
            )
