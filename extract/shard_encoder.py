"""From the images of a shard to everything the store keeps of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.cache.identity import Identity
from samcache.cache.statistics import Moments
from samcache.cache.store import ShardContent
from samcache.extract.preprocess import normalise, stack_frames
from samcache.extract.rows import ReadyImage, Row


@dataclass(frozen=True)
class ShardEncoder:
    """An encoder on its device, and how its maps are pooled, cast and gathered.

    shapes: level -> (C, h, w) as cached. is_train: for every row of the store, whether the
    statistics count it. on_progress: told the images of each finished batch.
    """

    model: nn.Module
    device: torch.device
    identity: Identity
    shapes: dict[str, tuple[int, int, int]]
    is_train: npt.NDArray[np.bool_]
    batch_size: int
    on_progress: Callable[[int], None]

    @torch.inference_mode()
    def encode(self, rows: list[Row]) -> ShardContent:
        """Encode a shard's rows in batches; rows without an image stay zero.

        Raises ConfigError, naming the level, where the storage dtype cannot hold a value.
        """
        features: dict[str, npt.NDArray[Any]] = {
            level: np.zeros((len(rows), 1, *shape), dtype=self.identity.dtype)
            for level, shape in self.shapes.items()
        }
        moments = {level: Moments.zero(shape[0]) for level, shape in self.shapes.items()}
        readable = [place for place, row in enumerate(rows) if row.image is not None]
        self.on_progress(len(rows) - len(readable))
        for start in range(0, len(readable), self.batch_size):
            places = readable[start : start + self.batch_size]
            maps = self._maps([image for p in places if (image := rows[p].image)])
            train = [i for i, place in enumerate(places) if self.is_train[rows[place].number]]
            for level, full in maps.items():
                moments[level] = moments[level].merge(_moments(full[train]))
                features[level][places, 0] = self._stored(level, full)
            self.on_progress(len(places))
        images = _cached_images(rows, self.identity.frame_size)
        failures = {row.number: row.reason for row in rows if row.image is None}
        return ShardContent(features, images, moments, tuple(r.sha256 for r in rows), failures)

    def _maps(self, images: list[ReadyImage]) -> dict[str, Tensor]:
        """Every level's unpooled maps, (B, C, H, W) float32 on the device."""
        frames = stack_frames([image.frame for image in images]).to(self.device)
        extents = [image.extent for image in images]
        maps = self.model(normalise(frames, extents, self.identity.preprocessing))
        return {level: values.float().contiguous() for level, values in maps.items()}

    def _stored(self, level: str, full: Tensor) -> npt.NDArray[Any]:
        """Maps averaged over pool x pool cells, in the storage dtype, on the CPU."""
        pool, dtype = self.identity.pool, self.identity.dtype
        pooled = F.avg_pool2d(full, pool) if pool > 1 else full
        stored = pooled.to(getattr(torch, dtype))
        lost = int((~torch.isfinite(stored)).sum())
        if lost:
            raise ConfigError(
                f"level {level} has {lost} values that {dtype} cannot hold (largest "
                f"{pooled.abs().max().item():.3g}): use --dtype float32"
            )
        values: npt.NDArray[Any] = stored.cpu().numpy()
        return values


def _moments(maps: Tensor) -> Moments:
    """Moments of (B, C, h, w) maps over everything but channels."""
    if len(maps) == 0:
        return Moments.zero(maps.shape[1])
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3), correction=0)
    count = maps.numel() // maps.shape[1]
    mean64, variance64 = (v.double().cpu().numpy() for v in (mean, variance))
    return Moments(count, mean64, variance64 * count)


def _cached_images(rows: list[Row], side: int) -> npt.NDArray[np.uint8] | None:
    if not side:
        return None
    images = np.zeros((len(rows), side, side, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        if row.image is not None and row.image.cached is not None:
            images[place] = row.image.cached
    return images
