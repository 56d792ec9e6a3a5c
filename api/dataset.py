"""A split of a store as a map-style torch Dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from samcache.api.store import array_path, check_views, unknown_name
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


class Item(dict[str, Any]):
    """A sample's tensors, label and id, by name."""


class Items(Sequence[Item]):
    """The items of a batch that was read together; PyTorch's default collate copies nothing."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["id"])

    def __getitem__(self, place: Any) -> Any:
        """One item, or several as a list for a slice."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return Item({name: values[place] for name, values in self.batch.items()})


class FeatureDataset(Dataset[Item]):
    """The readable samples of a split.

    An item is a dict: level -> map (C, h, w), "images" -> (3, F, F), "label" -> int64, which
    indexes ``classes``, and "id" -> text. PyTorch's default collate makes a batch of items.

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
        self._paths = {name: array_path(features, name) for name in names}
        check_views(features, views)
        self.classes = store.classes
        self.views = tuple(views)
        samples = store.samples[store.samples["status"] == "ok"]
        if split is not None:
            if split not in store.splits:
                raise unknown_name("split", split, store.splits)
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

    def __getitems__(self, indices: Sequence[int]) -> Items:
        """The items of a batch, read together."""
        self._check_process()
        places = np.asarray(indices, np.int64)
        read = self._reader.read(self._rows[places])
        batch: dict[str, Any] = self._show_views(read, len(places))
        batch["label"] = self.labels[torch.from_numpy(places)]
        batch["id"] = [self._ids[place] for place in places]
        return Items(batch)

    def _show_views(self, read: dict[str, np.ndarray[Any, Any]], count: int) -> dict[str, Tensor]:
        """Name -> maps (B, C, h, w) or images (B, 3, F, F), each sample in its drawn view."""
        drawn = torch.zeros(count, dtype=torch.int64)
        if len(self._places) > 1:
            drawn = torch.randint(len(self._places), (count,))
        found = {}
        for name, path in self._paths.items():
            values, scale = torch.from_numpy(read[path]), self.scales.get(name)
            if name == IMAGES:
                pixels = values if scale is None else _standardize_pixels(values, scale)
                found[name] = pixels.permute(0, 3, 1, 2)
                continue
            if len(self._places) > 1:
                maps = values[torch.arange(count), torch.tensor(self._places)[drawn]]
            else:
                maps = values[:, self._places[0]]  # not copied
            found[name] = maps if scale is None else scale.apply(maps)
        if self._turns:
            extents = torch.from_numpy(read[EXTENTS].astype(np.int64))
            found[IMAGES] = turn_images(found[IMAGES], extents, self.views, drawn)
        return found

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


def collate_items(items: Sequence[Item], **_: Any) -> dict[str, Any]:
    """Items that were read together as they are, others stacked."""
    if isinstance(items, Items):
        return items.batch
    collated: dict[str, Any] = default_collate([dict(item) for item in items])
    return collated


default_collate_fn_map[Item] = collate_items


def _standardize_pixels(images: Tensor, scale: Scale) -> Tensor:
    """Images (B, F, F, 3) uint8 -> float32, each value as ``Scale.apply`` gives it.

    Image by image, so that the three steps stay in the processor's cache; with whole lines of mean
    and deviation, since three numbers by themselves are repeated four times as slowly.
    """
    side = images.shape[2]
    mean, std = (value.view(1, 3).repeat(side, 1) for value in (scale.mean, scale.std))
    found = torch.from_numpy(np.empty(images.shape, np.float32))  # which asks for huge pages
    for image, pixels in zip(found, images, strict=True):
        image.copy_(pixels).sub_(mean).div_(std)
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
            scales[name] = _image_scale(features, rows)
        else:
            mean, variance = moments[name].mean, moments[name].variance
            scales[name] = Scale.of(torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance)))
    return scales


def _image_scale(features: StoredFeatures, rows: np.ndarray[Any, Any]) -> Scale:
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
