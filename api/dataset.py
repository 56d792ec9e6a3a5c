"""A split of a store as a map-style torch Dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from samcache.api.store import check_views, find_array_path, make_unknown_name_error
from samcache.cache.errors import ConfigError
from samcache.cache.format.layout import EXTENTS, IMAGES
from samcache.cache.rows import RowReader
from samcache.cache.store import Store as StoredFeatures
from samcache.train.data.dataset import Scale
from samcache.train.data.views import turn_images

if TYPE_CHECKING:
    from samcache.api.store import Store

_TRAIN = "train"
_COUNTED = 256  # images whose values are counted at a time
_BLOCK = 2**17  # values that are standardized at a time

Item = dict[str, Any]  # a sample's tensors, label and id, by name


class Batch(Sequence[Item]):
    """The items of a batch that was read together.

    tensors: name -> the values of all items, which ``collate_items`` returns as they are.
    """

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.tensors = tensors

    @cached_property
    def _items(self) -> list[Item]:
        values = zip(*self.tensors.values(), strict=True)
        return [dict(zip(self.tensors, own, strict=True)) for own in values]

    def __len__(self) -> int:
        return len(self.tensors["id"])

    def __getitem__(self, place: Any) -> Any:
        """One item, or several as a list for a slice."""
        return self._items[place]


def collate_items(items: Sequence[Item]) -> dict[str, Any]:
    """A batch of items: name -> tensor (B, …), "id" -> list of B texts; for ``DataLoader``.

    Items that a ``FeatureDataset`` read together are not copied, unlike by PyTorch's default
    collate, which returns the same batch.
    """
    if isinstance(items, Batch):
        return items.tensors
    collated: dict[str, Any] = default_collate(list(items))
    return collated


class FeatureDataset(Dataset[Item]):
    """The readable samples of a split.

    An item is a dict: level -> map (C, h, w), "images" -> (3, F, F), "label" -> int64, which
    indexes ``classes`` (-1 in a store without labels), and "id" -> text. ``collate_items`` makes a
    batch of items.

    images: whether items hold the images. standardize: maps and images are float32, with the mean
    and deviation of each channel over the store's training split (maps: those that ``samcache
    train`` uses; images: at the size of the store); otherwise they have the store's dtypes, and
    images run from 0 to 255. views: one is drawn for each item from torch's generator, as
    ``samcache train`` draws it, for the maps and the image alike.

    Every row's checksum is checked when it is read; a damaged row raises StoreError. The dataset
    can be pickled, and read by workers that are forked or spawned.
    """

    def __init__(
        self,
        store: Store,
        split: str | None,
        levels: Sequence[str] = ("neck",),
        images: bool = True,
        standardize: bool = True,
        views: Sequence[str] = ("identity",),
    ) -> None:
        if isinstance(levels, str) or isinstance(views, str) or not views:
            raise ConfigError("levels and views should be lists of names, such as ['neck']")
        features = store._features
        names = [*levels, *([IMAGES] if images else [])]
        self._paths = {name: find_array_path(features, name) for name in names}
        check_views(features, views)
        self.classes = store.classes
        self.views = tuple(views)
        samples = store.samples[store.samples["status"] == "ok"]
        if split is not None:
            if split not in store.splits:
                raise make_unknown_name_error("split", split, store.splits)
            samples = samples[samples["split"] == split]
        self.samples = samples.reset_index(drop=True)
        self.labels = torch.from_numpy(self.samples["label"].to_numpy(np.int64, copy=True))
        self.scales = _read_scales(features, self._paths) if standardize else {}
        self._rows = self.samples["row"].to_numpy(np.int64, copy=True)
        self._ids = self.samples["id"].tolist()
        self._places = [features.identity.views.index(view) for view in views]
        self._turns = images and self.views != ("identity",)
        paths = [*self._paths.values(), *([EXTENTS] if self._turns else [])]
        self._reader = RowReader(features, paths)
        self._remote, self._process = features.remote, os.getpid()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Item:
        """One item; raises StoreError where the row is damaged, IndexError past the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        item: Item = self.__getitems__([index])[0]
        return item

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The items of a batch, read together."""
        self._check_process()
        places = np.asarray(indices, np.int64)
        read = self._reader.read(self._rows[places])
        batch: dict[str, Any] = self._show_views(read, len(places))
        batch["label"] = self.labels[torch.from_numpy(places)]
        batch["id"] = [self._ids[place] for place in places]
        return Batch(batch)

    def _show_views(self, read: dict[str, np.ndarray[Any, Any]], count: int) -> dict[str, Tensor]:
        """Name -> maps (B, C, h, w) or images (B, 3, F, F), each sample in its drawn view."""
        drawn = torch.zeros(count, dtype=torch.int64)
        if len(self._places) > 1:
            drawn = torch.randint(len(self._places), (count,))
        found = {}
        for name, path in self._paths.items():
            values, scale = torch.from_numpy(read[path]), self.scales.get(name)
            if name == IMAGES:
                extents = torch.from_numpy(read[EXTENTS].astype(np.int64)) if self._turns else None
                found[name] = self._show_images(values, extents, drawn)
                continue
            if len(self._places) > 1:
                maps = values[torch.arange(count), torch.tensor(self._places)[drawn]]
            else:
                maps = values[:, self._places[0]]  # not copied
            found[name] = maps if scale is None else _standardize(maps, scale.mean, scale.std)
        return found

    def _show_images(self, pixels: Tensor, extents: Tensor | None, drawn: Tensor) -> Tensor:
        """Images (B, F, F, 3) -> (B, 3, F, F), each in its drawn view if there are extents."""
        scale, images = self.scales.get(IMAGES), pixels.permute(0, 3, 1, 2)
        if extents is not None:
            turned = turn_images(images, extents, self.views, drawn)
            return turned if scale is None else _standardize(turned, scale.mean, scale.std)
        return images if scale is None else _standardize_pixels(pixels, scale).permute(0, 3, 1, 2)

    def _check_process(self) -> None:
        """Raise ConfigError in a forked worker of a remote store: its connection would hang."""
        if self._remote and os.getpid() != self._process:
            raise ConfigError(
                "a forked worker cannot read a remote store: give the DataLoader "
                "multiprocessing_context='spawn', or copy the store to a folder"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _process=os.getpid())

    def __repr__(self) -> str:
        return f"FeatureDataset({len(self)} samples of {', '.join(self._paths)})"


def _standardize_pixels(images: Tensor, scale: Scale) -> Tensor:
    """Images (B, F, F, 3) uint8 -> float32, each value as ``Scale.apply`` gives it.

    With whole lines of mean and deviation, since three numbers by themselves are repeated four
    times as slowly.
    """
    side = images.shape[2]
    mean, std = (value.view(1, 3).repeat(side, 1) for value in (scale.mean, scale.std))
    return _standardize(images.flatten(0, 1), mean, std).view(images.shape)


def _standardize(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Values (n, …) of any dtype -> float32, each as ``Scale.apply`` gives it.

    By blocks, so that the three steps stay in the processor's cache.
    """
    found = torch.from_numpy(np.empty(values.shape, np.float32))  # which asks for huge pages
    block = max(1, _BLOCK // max(1, values[:1].numel()))
    parts = zip(torch.split(found, block), torch.split(values, block), strict=True)
    for part, own in parts:
        part.copy_(own).sub_(mean).div_(std)
    return found


def _read_scales(features: StoredFeatures, paths: Mapping[str, str]) -> dict[str, Scale]:
    """Name -> mean and deviation over the readable training rows; raises ConfigError for none."""
    table = features.samples
    rows = table["row"][(table["status"] == "ok") & (table["split"] == _TRAIN)].to_numpy()
    if not len(rows):
        raise ConfigError(
            f"{features.location} has no readable sample in the split train, whose mean and "
            "deviation standardize needs: give standardize=False"
        )
    moments = features.read_moments(rows)
    scales = {}
    for name in paths:
        if name == IMAGES:
            scales[name] = _compute_image_scale(features, rows)
        else:
            mean, variance = moments[name].mean, moments[name].variance
            scales[name] = Scale.of(torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance)))
    return scales


def _compute_image_scale(features: StoredFeatures, rows: np.ndarray[Any, Any]) -> Scale:
    """The scale of some rows' images, from exact counts of their values."""
    reader, counted = RowReader(features, [IMAGES]), np.zeros((3, 256), np.int64)
    for start in range(0, len(rows), _COUNTED):
        images = reader.read(rows[start : start + _COUNTED])[IMAGES]
        for channel in range(3):
            counted[channel] += np.bincount(images[..., channel].reshape(-1), minlength=256)
    counts, values = torch.from_numpy(counted), torch.arange(256)
    pixels = counts.sum(dim=1)
    mean = (counts * values).sum(dim=1).double() / pixels
    squares = (counts * values**2).sum(dim=1) / pixels  # in float32, as train has it
    return Scale.of(mean, (squares - mean**2).clamp(min=0).sqrt())
