"""A store's images, maps and labels, ready for many trainings."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.format.layout import IMAGES
from samcache.train.data.views import turn_images
from samcache.train.tasks.targets.base import Target

IDENTITY = ("identity",)  # the view that every store has, first


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

    def undo(self, values: Tensor) -> Tensor:
        """(B, C) in units of the training rows -> in their own."""
        return values * self.std.flatten() + self.mean.flatten()

    def to(self, device: torch.device) -> "Scale":
        """The same scale on a device."""
        return Scale(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True)
class TrainingData:
    """Every readable sample of a store that has an answer, n in all, read once for all seeds.

    images: (n, 3, s, s) uint8, as the first view has them. pooled: level -> (n V, C, h, w) in the
    store's dtype, a sample's V views one after another, averaged to some cells, and name of its
    spreads (spreads.py) -> (n V, C, 1, 1), none of it standardised; scales: by the same names.
    labels: (n,) or (n, K), as the target has them. extents: (n, 2) int64, height and width of each
    image in its square; None with one view. feature_rows: (n,) int64, whose maps each sample is
    given; None means its own.
    With residency "device" all lie on one device, otherwise images and pooled maps stay in memory
    or on disk.
    """

    samples: pd.DataFrame
    target: Target
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

    def find_rows(self, split: str) -> Tensor:
        """The rows of a split, (m,) int64 on the CPU."""
        return torch.from_numpy(np.flatnonzero((self.samples["split"] == split).to_numpy()))

    def make_inputs(
        self, rows: Tensor, drawn: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
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
            images = turn_images(images, extents, self.views, drawn.to(self.device))
        maps = {
            level: self.scales[level].apply(maps[places.to(maps.device)].to(self.device))
            for level, maps in self.pooled.items()
        }
        return self.image_scale.apply(images), maps

    def list_scales(self) -> dict[str, Scale]:
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
