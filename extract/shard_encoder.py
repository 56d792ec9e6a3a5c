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
from samcache.cache.layout import IMAGES, STATISTICS, ArraySpec, feature_path
from samcache.cache.store import ShardContent
from samcache.extract.preprocess import normalise, stack_frames
from samcache.extract.rows import ReadyImage, Row


@dataclass(frozen=True)
class ShardEncoder:
    """An encoder on its device, and how its maps are pooled, cast and gathered.

    arrays: what the store keeps of each image, by path; channels: each level's place in the
    statistics. on_progress: told the images of each finished batch.
    """

    model: nn.Module
    device: torch.device
    identity: Identity
    arrays: dict[str, ArraySpec]
    channels: dict[str, slice]
    batch_size: int
    on_progress: Callable[[int], None]

    @torch.inference_mode()
    def encode(self, rows: list[Row], span: tuple[int, int]) -> ShardContent:
        """Encode a shard's rows in batches; ``span`` is its first row and one past its last.

        Raises ConfigError, naming the level, where the storage dtype cannot hold a value.
        """
        start, stop = span
        blocks = {
            path: np.zeros((stop - start, *spec.row), spec.dtype)
            for path, spec in self.arrays.items()
        }
        for row in rows:
            for path, values in (row.known or {}).items():
                blocks[path][row.number - start] = values
        fresh = [row for row in rows if row.image is not None]
        self.on_progress(len(rows) - len(fresh))
        for first in range(0, len(fresh), self.batch_size):
            batch = fresh[first : first + self.batch_size]
            self._encode_batch(batch, [row.number - start for row in batch], blocks)
            self.on_progress(len(batch))
        by_number = {row.number: row for row in rows}
        failures = {row.number: row.reason for row in rows if row.reason}
        holes = tuple(number for number in range(start, stop) if number not in by_number)
        sources = tuple(
            by_number[number].sha256 if number in by_number else "" for number in range(start, stop)
        )
        return ShardContent(blocks, sources, failures, holes)

    def _encode_batch(
        self, batch: list[Row], places: list[int], blocks: dict[str, npt.NDArray[Any]]
    ) -> None:
        images = [row.image for row in batch if row.image is not None]
        for level, full in self._maps(images).items():
            variance, mean = torch.var_mean(full, dim=(2, 3), correction=0)
            moments = torch.stack([mean, variance], dim=1).cpu().numpy()  # (B, 2, C)
            blocks[STATISTICS][places, :, self.channels[level]] = moments
            blocks[feature_path(level)][places, 0] = self._stored(level, full)
        if IMAGES in blocks:
            for place, image in zip(places, images, strict=True):
                blocks[IMAGES][place] = image.cached

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
