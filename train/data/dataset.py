"""A store in memory, ready for many trainings: images, pooled maps, labels, splits."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.care.verify import verify
from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.format.layout import EXTENTS, IMAGES
from samcache.cache.format.statistics import Moments, read_moments
from samcache.cache.store import Store
from samcache.train.data.prepare_inputs import MapShape, names_by_level, prepare_map
from samcache.train.data.residency import allocate
from samcache.train.data.resize import shared_resize
from samcache.train.data.views import turned_images
from samcache.train.model.spreads import is_spread, level_of
from samcache.train.tasks.splits import Rows, readable_samples, trained_classes

IDENTITY = ("identity",)  # the view that every store has, first
Sides = dict[str, int]  # level -> cells on a side of its maps; name of its spreads -> 1

_CPU = torch.device("cpu")
_DEFAULT_IMAGE_SIZE = 224
_READERS = 4
_COUNTED = 1024  # images whose values are counted at a time
_PREPARED = 16  # samples whose maps are in float64 at a time


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

    images: (n, 3, s, s) uint8, as the first view has them. pooled: level -> (n V, C, h, w) in the
    store's dtype, a sample's V views one after another, averaged to some cells, and name of its
    spreads (spreads.py) -> (n V, C, 1, 1), none of it standardised; scales: by the same names.
    labels: (n,) int64. extents: (n, 2) int64, height and width of each image in its square; None
    with one view. feature_rows: (n,) int64, whose maps each sample is given; None means its own.
    With residency "device" all lie on one device, otherwise images and pooled maps stay in memory
    or on disk.
    """

    samples: pd.DataFrame
    classes: tuple[str, ...]
    images: Tensor
    image_scale: Scale
    pooled: dict[str, Tensor]
    scales: dict[str, Scale]
    labels: Tensor
    residency: str = "memory"
    views: tuple[str, ...] = IDENTITY
    extents: Tensor | None = None
    feature_rows: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the classifier runs."""
        return self.labels.device

    def rows(self, split: str) -> Tensor:
        """The rows of a split, (m,) int64 on the CPU."""
        return torch.from_numpy(np.flatnonzero((self.samples["split"] == split).to_numpy()))

    def inputs(self, rows: Tensor, drawn: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """A classifier's inputs for some rows: images (B, 3, s, s), level -> maps (B, C, h, w).

        drawn: (B,) int64, the place in ``views`` of the one that each row is shown in; None means
        the first for all.
        """
        images = self.images[rows].to(self.device)
        places = rows
        if self.feature_rows is not None:
            places = self.feature_rows[rows.to(self.device)].to(rows.device)
        places = places * len(self.views)
        if drawn is not None and self.extents is not None:
            places = places + drawn.to(places.device)
            extents = self.extents[rows.to(self.device)]
            images = turned_images(images, extents, self.views, drawn.to(self.device))
        maps = {
            level: self.scales[level].apply(maps[places.to(maps.device)].to(self.device))
            for level, maps in self.pooled.items()
        }
        return self.image_scale.apply(images), maps

    def all_scales(self) -> dict[str, Scale]:
        """Level -> its scale, and IMAGES -> that of the images, on the CPU."""
        scales = {IMAGES: self.image_scale, **self.scales}
        return {name: scale.to(torch.device("cpu")) for name, scale in scales.items()}

    def to(self, device: torch.device) -> "TrainingData":
        """The same data for a device; images and maps move there if that is their residency."""
        place = device if self.residency == "device" else torch.device("cpu")
        return replace(
            self,
            images=self.images.to(place),
            image_scale=self.image_scale.to(device),
            pooled={level: maps.to(place) for level, maps in self.pooled.items()},
            scales={level: scale.to(device) for level, scale in self.scales.items()},
            labels=self.labels.to(device),
            extents=None if self.extents is None else self.extents.to(device),
        )


def training_bytes(
    store: Store,
    sides: Sides,
    image_size: int | None,
    views: tuple[str, ...] = IDENTITY,
) -> int:
    """Bytes of the images and maps that ``load_training_data`` returns."""
    side = image_side(store, image_size)
    shapes = [_map_shape(store, level, side) for level, side in sides.items()]
    maps = np.dtype(store.identity.dtype).itemsize * sum(math.prod(shape) for shape in shapes)
    return len(readable_samples(store)) * (3 * side**2 + len(views) * maps)


def load_training_data(
    store: Store,
    sides: Sides,
    image_size: int | None,
    residency: str = "memory",
    views: tuple[str, ...] = IDENTITY,
    device: torch.device = _CPU,
) -> TrainingData:
    """Read a store's images and what ``sides`` names, averaged to so many cells, shard by shard.

    views: the first, or all, of the store's. With residency "device" images and maps are read to
    the device; ``TrainingData.to`` brings the rest there. The scales are those of the training
    split; ``scaled_to`` takes those of other rows. Raises ConfigError where the store has no cached
    images, StoreError where objects are damaged.
    """
    damage = verify(store, fast=True)
    if damage:
        raise StoreError(
            f"{store.location}: {damage[0].key} {damage[0].problem} (damaged objects in all: "
            f"{len(damage)}): samcache cache verify lists them"
        )
    samples = readable_samples(store)
    side = image_side(store, image_size)
    place = residency, device
    images = allocate((len(samples), 3, side, side), torch.uint8, *place)
    dtype, shown = getattr(torch, store.identity.dtype), len(samples) * len(views)
    pooled = {
        name: allocate((shown, *_map_shape(store, name, cells)), dtype, *place)
        for name, cells in sides.items()
    }
    rows = samples["row"].to_numpy()

    def fill(shard: int) -> None:
        start, stop = store.commits[shard].rows
        first, last = np.searchsorted(rows, (start, stop))
        keep = torch.from_numpy(rows[first:last] - start)
        raw = torch.from_numpy(store.read_images(start, stop))
        images[first:last] = _resized(raw[keep], side)
        for level, wanted in names_by_level(sides).items():
            maps = torch.from_numpy(store.read_features(level, start, stop))
            chosen = maps[keep, : len(views)].flatten(0, 1)
            for name in wanted:
                own = pooled[name][first * len(views) : last * len(views)]
                targets, parts = torch.split(own, _PREPARED), torch.split(chosen, _PREPARED)
                for target, part in zip(targets, parts, strict=True):
                    target.copy_(prepare_map(name, part, sides[name]))

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(fill, store.commits))
    train = torch.from_numpy(np.flatnonzero((samples["split"] == "train").to_numpy()))
    labels = torch.from_numpy(samples["label"].to_numpy(dtype=np.int64, copy=True))
    unscaled = TrainingData(
        samples, trained_classes(store), images, Scale.none(3), pooled, {}, labels, residency, views
    )
    if len(views) > 1:
        unscaled = replace(unscaled, extents=_extents(store, rows, side))
    return scaled_to(unscaled, store, train)


def scaled_to(data: TrainingData, store: Store, rows: Tensor) -> TrainingData:
    """The same data in units of some rows (m,) int64, the ones a member is trained on."""
    moments = read_moments(store, data.samples["row"].to_numpy()[rows.cpu().numpy()])
    device = data.device
    return replace(
        data,
        image_scale=_image_scale(data.images, rows).to(device),
        scales={
            name: (
                _spread_scale(values, rows * len(data.views))
                if is_spread(name)
                else _level_scale(moments[name])
            ).to(device)
            for name, values in data.pooled.items()
        },
    )


def read_inputs(
    store: Store, shard: int, rows: Rows, shapes: Mapping[str, MapShape], side: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images and maps of some rows of a committed shard, as ``load_training_data`` has them.

    rows: (n,) of the arrays' first axis; shapes: the (C, h, w) of what is wanted.
    Returns (n, 3, side, side) uint8 and name -> (n, C, h, w) in the store's dtype. Raises
    StoreError where objects are damaged.
    """
    start, stop = store.commits[shard].rows
    keep = torch.from_numpy(rows - start)
    images = _resized(torch.from_numpy(store.read_images(start, stop))[keep], side)
    pooled = {}
    for level, names in names_by_level(shapes).items():
        maps = torch.from_numpy(store.read_features(level, start, stop))[keep, 0]
        for name in names:
            parts = [prepare_map(name, p, shapes[name][1]) for p in torch.split(maps, _PREPARED)]
            pooled[name] = torch.cat(parts)
    return images, pooled


def _map_shape(store: Store, name: str, side: int) -> MapShape:
    return store.layout.level_shapes[level_of(name)][0], side, side


def image_side(store: Store, image_size: int | None) -> int:
    """The side of the classifier's images; None means the cache's, up to 224.

    Raises ConfigError where the store has no cached images.
    """
    if not store.identity.frame_size:
        raise ConfigError(
            f"{store.location} holds no images (--no-images): extract it anew with them"
        )
    return image_size or min(store.identity.frame_size, _DEFAULT_IMAGE_SIZE)


def _extents(store: Store, rows: npt.NDArray[np.int64], side: int) -> Tensor:
    """Height and width of some rows' images in squares of ``side``, (n, 2) int64.

    Exact at the cache's own size; at another, an edge is rounded to a whole pixel.
    """
    cached = store.read(EXTENTS, 0, store.layout.rows)[rows]
    scaled = cached * (side / store.identity.frame_size)
    return torch.from_numpy(scaled.round().clip(1, side).astype(np.int64))


def _resized(images: Tensor, side: int) -> Tensor:
    """(n, F, F, 3) uint8 -> (n, 3, side, side) uint8."""
    resized: Tensor = shared_resize(images.shape[1], side)(images.permute(0, 3, 1, 2))
    return resized


def _image_scale(images: Tensor, rows: Tensor) -> Scale:
    """The scale of some rows of (n, 3, s, s) uint8 images, from exact counts of their values."""
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for part in torch.split(rows.to(images.device), _COUNTED):
        planes = images[part].unbind(1)
        counts += torch.stack([torch.bincount(c.flatten(), minlength=256) for c in planes]).cpu()
    values = torch.arange(256)
    total, squares = (counts * values).sum(dim=1), (counts * values**2).sum(dim=1)
    mean = total.double() / counts.sum(dim=1)
    return Scale.of(mean, (squares / counts.sum(dim=1) - mean**2).clamp(min=0).sqrt())


def _spread_scale(spreads: Tensor, rows: Tensor) -> Scale:
    """The scale of some rows of (n, C, 1, 1) spreads."""
    values = spreads[rows.to(spreads.device)].flatten(1).float()
    return Scale.of(values.mean(dim=0), values.std(dim=0, correction=0))


def _level_scale(moments: Moments) -> Scale:
    return Scale.of(torch.from_numpy(moments.mean), torch.from_numpy(np.sqrt(moments.variance)))
