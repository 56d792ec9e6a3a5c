"""How many images go through the encoder at once: what the user says, or what the device holds."""

import logging
from dataclasses import dataclass, replace

import torch

from samcache.cache.errors import ConfigError
from samcache.extract.pipeline.devices.lanes import count_lanes

_FIRST_TRY = 64  # on a GPU; a power of two, so that halves of a batch are batches of the half size

_log = logging.getLogger(__name__)


@dataclass
class BatchSize:
    """The images of a batch, and how many batches are encoded side by side.

    A fixed size stays; another is halved when memory runs out.
    """

    size: int
    fixed: bool = True
    lanes: int = 1

    @classmethod
    def choose(cls, wanted: int | None, device: torch.device, shard_rows: int) -> "BatchSize":
        """The wanted size within a shard, or where it is None the largest that is worth a try.

        On a CPU it is one image, several of them side by side: at the sizes that stores are made
        with, no number is much faster. On a GPU it is the largest power of two up to 64 and the
        images of a shard, which no batch exceeds.
        """
        lanes = count_lanes() if device.type == "cpu" else 1
        if wanted is not None:
            return cls(min(wanted, shard_rows), lanes=lanes)
        most = _FIRST_TRY if device.type == "cuda" else 1
        batch = cls(1 << (min(most, shard_rows).bit_length() - 1), fixed=False, lanes=lanes)
        _log.info("batches of %d on %s, %d side by side", batch.size, device, lanes)
        return batch

    @property
    def images(self) -> int:
        """Of all batches that are encoded side by side."""
        return self.size * self.lanes

    def halve(self, device: torch.device) -> None:
        """Continue with half the batch; raises ConfigError if the size is fixed or 1."""
        if self.fixed or self.size == 1:
            raise replace(self, lanes=1).make_error(device)
        self.size //= 2
        _log.info("out of memory on %s: continuing with batches of %d", device, self.size)

    def make_error(self, device: torch.device) -> ConfigError:
        """Make the error for a batch that exceeds a device's memory, with what to do."""
        if self.size > 1:
            return ConfigError(
                f"a batch of {self.size} images does not fit into the memory of {device}: use auto "
                "or a smaller batch",
                hint="batch_size",
            )
        if self.lanes > 1:
            return ConfigError(
                f"{self.lanes} images at a time do not fit into the memory of {device}: set "
                "OMP_NUM_THREADS to fewer"
            )
        return ConfigError(
            f"one image does not fit into the memory of {device}: use a smaller image size, a "
            "smaller encoder, or a device with more memory",
            hint="image_size encoder device",
        )
