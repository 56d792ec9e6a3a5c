"""Scale images and maps to the rows that a member is trained on."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from samcache.cache.format.statistics import Moments
from samcache.cache.store import Store
from samcache.train.data.dataset import Scale, TrainingData
from samcache.train.data.spreads import is_spread
from samcache.train.tasks.splits import Member

_COUNTED = 1024  # images whose values are counted at a time


def scale_inputs(data: TrainingData, store: Store, rows: Tensor) -> TrainingData:
    """The same data in units of some rows (m,) int64, the ones a member is trained on."""
    moments = store.read_moments(data.samples["row"].to_numpy()[rows.cpu().numpy()])
    device = data.device
    return replace(
        data,
        image_scale=_find_image_scale(data.images, rows).to(device),
        scales={
            name: (
                _find_spread_scale(values, rows * len(data.views))
                if is_spread(name)
                else _make_level_scale(moments[name])
            ).to(device)
            for name, values in data.pooled.items()
        },
    )


def scale_for_members(
    data: TrainingData, store: Store, members: Iterable[Member]
) -> Iterator[tuple[Member, TrainingData]]:
    """Each member with the data in units of its training rows; members of equal rows share them."""
    rows, scaled = None, data
    for member in members:
        if rows is None or not torch.equal(rows, member.train):
            rows, scaled = member.train, scale_inputs(data, store, member.train)
        yield member, scaled


def _find_image_scale(images: Tensor, rows: Tensor) -> Scale:
    """The scale of some rows of (n, 3, s, s) uint8 images, from exact counts of their values."""
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for part in torch.split(rows.to(images.device), _COUNTED):
        planes = images[part].unbind(1)
        counts += torch.stack([torch.bincount(c.flatten(), minlength=256) for c in planes]).cpu()
    values = torch.arange(256)
    total, squares = (counts * values).sum(dim=1), (counts * values**2).sum(dim=1)
    mean = total.double() / counts.sum(dim=1)
    return Scale.of(mean, (squares / counts.sum(dim=1) - mean**2).clamp(min=0).sqrt())


def _find_spread_scale(spreads: Tensor, rows: Tensor) -> Scale:
    """The scale of some rows of (n, C, 1, 1) spreads."""
    values = spreads[rows.to(spreads.device)].flatten(1).float()
    return Scale.of(values.mean(dim=0), values.std(dim=0, correction=0))


def _make_level_scale(moments: Moments) -> Scale:
    return Scale.of(torch.from_numpy(moments.mean), torch.from_numpy(np.sqrt(moments.variance)))
