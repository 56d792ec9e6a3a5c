"""A store in memory, ready for many trainings: images, pooled maps, labels, splits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.samples import SPLITS
from samcache.cache.store import Store

_DEFAULT_IMAGE_SIZE = 224


@dataclass(frozen=True)
class TrainingData:
    """Every readable committed sample of a store, n in all, read once for all seeds.

    images: (n, 3, s, s) uint8. pooled: level -> (n, C, h, w), the store's dtype, averaged over the
    kernel, not yet standardised. mean, std: level -> (C, 1, 1) float32. labels: (n,) int64.
    """

    samples: pd.DataFrame
    classes: tuple[str, ...]
    images: Tensor
    pooled: dict[str, Tensor]
    mean: dict[str, Tensor]
    std: dict[str, Tensor]
    labels: Tensor

    def rows(self, split: str) -> Tensor:
        """The rows of a split, (m,) int64."""
        return torch.from_numpy(np.flatnonzero((self.samples["split"] == split).to_numpy()))

    def standardised(self, level: str, rows: Tensor) -> Tensor:
        """A level's pooled maps for some rows, each channel in units of the training split."""
        maps = self.pooled[level][rows].float()
        return maps.sub_(self.mean[level]).div_(self.std[level])

    def to(self, device: torch.device) -> "TrainingData":
        """The same data with every tensor on a device."""

        def moved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {level: tensor.to(device) for level, tensor in tensors.items()}

        return TrainingData(
            self.samples,
            self.classes,
            self.images.to(device),
            moved(self.pooled),
            moved(self.mean),
            moved(self.std),
            self.labels.to(device),
        )


def load_training_data(
    store: Store, levels: tuple[str, ...], kernel: int, image_size: int | None
) -> TrainingData:
    """Read a store's images and the given levels, pooled to the kernel, one shard at a time.

    Raises ConfigError where the store has no cached images, a kernel the store's pool does not
    divide, or a split or class that cannot be trained on; StoreError where objects are damaged.
    """
    store.check_presence()
    usable = (store.samples["status"] == "ok").to_numpy(copy=True)
    samples = store.samples[usable].reset_index(drop=True)
    _check_splits(samples, store.dataset.classes)
    if not store.identity.frame_size:
        raise ConfigError(f"{store.path} holds no images (--frame-size 0): extract it with images")
    factor = {level: _pool_factor(store, level, kernel) for level in levels}
    side = image_size or min(store.identity.frame_size, _DEFAULT_IMAGE_SIZE)
    images = torch.empty(len(samples), 3, side, side, dtype=torch.uint8)
    pooled = {level: _empty_maps(store, level, factor[level], len(samples)) for level in levels}
    place = 0
    for shard in sorted(store.commits):
        start, stop = store.layout.rows_of(shard)
        keep = torch.from_numpy(usable[start:stop])
        rows = slice(place, place + int(keep.sum()))
        images[rows] = _resized(_read(store.images, start, stop)[keep], side)
        for level in levels:
            maps = _read(store.features(level), start, stop)[keep][:, 0]
            pooled[level][rows] = _averaged(maps, factor[level])
        place = rows.stop
    moments = {level: store.statistics(level) for level in levels}
    return TrainingData(
        samples,
        store.dataset.classes,
        images,
        pooled,
        {level: _per_channel(m.mean) for level, m in moments.items()},
        {level: _per_channel(m.std()).clamp(min=1e-6) for level, m in moments.items()},
        torch.from_numpy(samples["label"].to_numpy(dtype=np.int64, copy=True)),
    )


def _read(array: Any, start: int, stop: int) -> Tensor:
    try:
        return torch.from_numpy(np.asarray(array[start:stop]))
    except (ValueError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(
            f"rows {start} to {stop} cannot be read ({reason}): the store is damaged there; "
            "delete that shard's folder in commits/ and run extract again"
        ) from None


def _pool_factor(store: Store, level: str, kernel: int) -> int:
    pool = store.identity.pool
    side = store.layout.level_shapes[level][1]
    if kernel % pool or side % (kernel // pool):
        raise ConfigError(
            f"--kernel {kernel} does not fit the store: its maps are pooled by {pool}, and level "
            f"{level} is {side * pool} cells wide before that; give a multiple of {pool} that "
            "divides it"
        )
    return kernel // pool


def _empty_maps(store: Store, level: str, factor: int, rows: int) -> Tensor:
    channels, height, width = store.layout.level_shapes[level]
    dtype = getattr(torch, store.identity.dtype)
    return torch.empty(rows, channels, height // factor, width // factor, dtype=dtype)


def _averaged(maps: Tensor, factor: int) -> Tensor:
    return maps if factor == 1 else F.avg_pool2d(maps.float(), factor)


def _resized(images: Tensor, side: int) -> Tensor:
    """(n, F, F, 3) uint8 -> (n, 3, side, side) uint8, bilinear with antialiasing."""
    planes = images.permute(0, 3, 1, 2)
    if planes.shape[-1] == side:
        return planes
    scaled = F.interpolate(planes.float(), (side, side), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte()


def _per_channel(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float().view(-1, 1, 1)


def _check_splits(samples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    for split in SPLITS:
        chosen = samples[samples["split"] == split]
        if chosen.empty:
            raise ConfigError(
                f"split {split} holds no readable samples: training needs train, val and test; "
                "add them to the source, or leave its splits out to have them drawn"
            )
        absent = sorted(set(range(len(classes))) - set(chosen["label"]))
        if absent:
            raise ConfigError(
                f"class {classes[absent[0]]!r} has no readable sample in split {split}: every "
                "class needs one in every split"
            )
