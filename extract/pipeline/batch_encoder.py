"""Encode a batch of images on a device to all that a store keeps of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle

import numpy as np
import torch
from torch import Tensor, nn

from samcache.cache.errors import ConfigError
from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import STATISTICS, make_feature_path
from samcache.extract.images.preprocess import normalise
from samcache.extract.pipeline.devices.device_copies import Arrays, DeviceCopies
from samcache.extract.pipeline.read.rows import ReadyImage
from samcache.extract.pipeline.reduction import (
    cast_maps,
    measure_channels,
    pool_maps,
    refuse_lost_values,
)

_LARGEST = "largest"  # (V levels,): the largest magnitudes that ``cast_maps`` returns


@dataclass(frozen=True)
class BatchEncoder:
    """An encoder on its device, and the identity whose features it computes."""

    model: nn.Module
    device: torch.device
    identity: Identity

    def compute_maps(self, images: list[ReadyImage], view: int = 0) -> dict[str, Tensor]:
        """Compute every level's unpooled maps of one view, (B, C, H, W) float32 on the device."""
        frames = self._copies.upload([image.frames[view] for image in images])
        extents = [image.extents[view] for image in images]
        maps = self.model(normalise(frames, extents, self.identity.preprocessing))
        return {level: values.float() for level, values in maps.items()}

    @torch.inference_mode()
    def begin(self, images: list[ReadyImage]) -> Callable[[], Arrays]:
        """Begin to encode images, pool and cast on the device, and begin to copy back.

        The function that is returned waits for the store's arrays, by path, (B, …); it raises
        ConfigError, naming the level, where the storage dtype cannot hold a value.
        """
        views: dict[str, list[Tensor]] = {level: [] for level in self.identity.levels}
        moments, largest = [], []
        for view in range(len(self.identity.views)):
            maps = self.compute_maps(images, view)
            for level, found in views.items():
                full = maps.pop(level)
                if view == 0:
                    moments.append(measure_channels(full))
                pooled = pool_maps(full, self.identity.pool)
                values, magnitude = cast_maps(pooled, self.identity.dtype)
                found.append(values)
                largest.append(magnitude)
        kept = {  # B, V, C, h, w
            make_feature_path(level): torch.stack(found, dim=1) for level, found in views.items()
        }
        kept[STATISTICS] = torch.cat(moments, dim=2)
        kept[_LARGEST] = torch.stack(largest)
        return partial(self._check, self._copies.download(kept))

    def _check(self, arrived: Callable[[], Arrays]) -> Arrays:
        """Wait for the arrays of a batch, and refuse values that were lost."""
        values, identity = arrived(), self.identity
        for level, largest in zip(cycle(identity.levels), values.pop(_LARGEST), strict=False):
            kept = values[make_feature_path(level)]
            refuse_lost_values(level, kept, float(largest), identity.precision)
        if not np.isfinite(values[STATISTICS]).all():
            raise ConfigError(
                "the variance of a level exceeds float32, though its values do not: the checkpoint "
                "is damaged or not this encoder's"
            )
        return values

    @cached_property
    def _copies(self) -> DeviceCopies:
        return DeviceCopies(self.device)
