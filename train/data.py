"""A store in memory, ready for many trainings: images, pooled maps, labels, splits."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.statistics import Moments
from samcache.cache.store import Store
from samcache.cache.verify import verify
from samcache.train.splits import readable_samples

_DEFAULT_IMAGE_SIZE = 224
_READERS = 4


@dataclass(frozen=True)
class Scale:
    """Mean and deviation per channel over the training rows, (C, 1, 1) float32 each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, mean: Tensor, std: Tensor) -> "Scale":
        """From (C,) values; a channel that never varies keeps a tiny deviation."""
        return cls(mean.float().view(-1, 1, 1), std.float().clamp(min=1e-6).view(-1, 1, 1))

    @classmethod
    def none(cls, channels: int) -> "Scale":
        """The scale that changes nothing."""
        return cls(torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1))

    def apply(self, values: Tensor) -> Tensor:
        """(B, C, H, W) of any dtype -> float32 in units of the training rows."""
        return values.float().sub(self.mean).div_(self.std)

    def to(self, device: torch.device) -> "Scale":
        """The same scale on a device."""
        return Scale(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True)
class TrainingData:
    """Every readable committed sample of a store, n in all, read once for all seeds.

    images: (n, 3, s, s) uint8. pooled: level -> (n, C, h, w) in the store's dtype, averaged over
    the kernel, not standardised; scales: level -> its scale. labels: (n,) int64. feature_rows:
    (n,) int64, whose maps each sample is given; None means its own.
    """

    samples: pd.DataFrame
    classes: tuple[str, ...]
    images: Tensor
    image_scale: Scale
    pooled: dict[str, Tensor]
    scales: dict[str, Scale]
    labels: Tensor
    feature_rows: Tensor | None = None

    def rows(self, split: str) -> Tensor:
        """The rows of a split, (m,) int64 on the CPU."""
        return torch.from_numpy(np.flatnonzero((self.samples["split"] == split).to_numpy()))

    def inputs(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A classifier's inputs for some rows: images (B, 3, s, s), level -> maps (B, C, h, w)."""
        places = rows if self.feature_rows is None else self.feature_rows[rows]
        maps = {
            level: self.scales[level].apply(maps[places]) for level, maps in self.pooled.items()
        }
        return self.image_scale.apply(self.images[rows]), maps

    def to(self, device: torch.device) -> "TrainingData":
        """The same data with every tensor on a device."""
        return replace(
            self,
            images=self.images.to(device),
            image_scale=self.image_scale.to(device),
            pooled={level: maps.to(device) for level, maps in self.pooled.items()},
            scales={level: scale.to(device) for level, scale in self.scales.items()},
            labels=self.labels.to(device),
        )


def load_training_data(
    store: Store, levels: tuple[str, ...], kernel: int | None, image_size: int | None
) -> TrainingData:
    """Read a store's images and the given levels, pooled to the kernel, a few shards at a time.

    Without a kernel, each map is averaged to one vector.

    The scales are those of the training split; ``scaled_to`` takes those of other rows. Raises
    ConfigError where the store has no cached images or its pool does not divide the kernel;
    StoreError where objects are damaged.
    """
    damage = verify(store, fast=True)
    if damage:
        raise StoreError(
            f"{store.location}: {damage[0].key} {damage[0].problem}, and {len(damage) - 1} more: "
            "see samcache cache verify"
        )
    samples = readable_samples(store)
    if not store.identity.frame_size:
        raise ConfigError(
            f"{store.location} holds no images (--no-images): extract it anew with them"
        )
    factor = {level: _pool_factor(store, level, kernel) for level in levels}
    side = image_size or min(store.identity.frame_size, _DEFAULT_IMAGE_SIZE)
    images = torch.empty(len(samples), 3, side, side, dtype=torch.uint8)
    pooled = {level: _empty_maps(store, level, factor[level], len(samples)) for level in levels}
    rows = samples["row"].to_numpy()

    def fill(shard: int) -> None:
        start, stop = store.commits[shard].rows
        first, last = np.searchsorted(rows, (start, stop))
        keep = torch.from_numpy(rows[first:last] - start)
        raw = torch.from_numpy(store.read_images(start, stop))
        images[first:last] = _resized(raw[keep], side)
        for level in levels:
            maps = torch.from_numpy(store.read_features(level, start, stop))
            pooled[level][first:last] = _averaged(maps[keep, 0], factor[level])

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(fill, store.commits))
    train = torch.from_numpy(np.flatnonzero((samples["split"] == "train").to_numpy()))
    labels = torch.from_numpy(samples["label"].to_numpy(dtype=np.int64, copy=True))
    unscaled = TrainingData(
        samples, store.dataset.classes, images, Scale.none(3), pooled, {}, labels
    )
    return scaled_to(unscaled, store, train)


def scaled_to(data: TrainingData, store: Store, rows: Tensor) -> TrainingData:
    """The same data in units of some rows (m,) int64, the ones a member is trained on."""
    moments = store.moments(data.samples["row"].to_numpy()[rows.cpu().numpy()])
    device = data.images.device
    return replace(
        data,
        image_scale=_image_scale(data.images[rows.to(device)]).to(device),
        scales={level: _level_scale(moments[level]).to(device) for level in data.pooled},
    )


def _pool_factor(store: Store, level: str, kernel: int | None) -> int:
    pool = store.identity.pool
    side = store.layout.level_shapes[level][1]
    if kernel is None:
        return side
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


def _image_scale(images: Tensor) -> Scale:
    """The scale of (n, 3, s, s) uint8 images, from exact counts of each channel's values."""
    planes = images.unbind(1)
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in planes]).cpu()
    values = torch.arange(256)
    total, squares = (counts * values).sum(dim=1), (counts * values**2).sum(dim=1)
    mean = total.double() / counts.sum(dim=1)
    return Scale.of(mean, (squares / counts.sum(dim=1) - mean**2).clamp(min=0).sqrt())


def _level_scale(moments: Moments) -> Scale:
    return Scale.of(torch.from_numpy(moments.mean), torch.from_numpy(np.sqrt(moments.variance)))
