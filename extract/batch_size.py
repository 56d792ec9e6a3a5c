"""How many images go through the encoder at once: what the user says, or what the device holds."""

import logging
from dataclasses import dataclass

import torch

from samcache.cache.errors import ConfigError

_FIRST_TRY = 64  # on a GPU; a power of two, so that halves of a batch are batches of the half size

_log = logging.getLogger(__name__)


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that a device has no memory; compiled code and cuBLAS say it so too."""
    told = any(words in str(error) for words in ("out of memory", "ALLOC_FAILED"))
    return told or isinstance(error, torch.OutOfMemoryError)


@dataclass
class BatchSize:
    """The images of a batch. A fixed size stays; another is halved when memory runs out."""

    size: int
    fixed: bool = True

    @classmethod
    def chosen(cls, wanted: int | None, device: torch.device, shard_rows: int) -> "BatchSize":
        """The wanted size within a shard, or where it is None the largest that is worth a try.

        On a CPU one image at a time: at the sizes that stores are made with, no number is much
        faster, and one needs the least memory. On a GPU it is the largest power of two up to 64
        and the images of a shard, which no batch exceeds.
        """
        if wanted is not None:
            return cls(min(wanted, shard_rows))
        most = _FIRST_TRY if device.type == "cuda" else 1
        batch = cls(1 << (min(most, shard_rows).bit_length() - 1), fixed=False)
        _log.info("batches of %d on %s", batch.size, device)
        return batch

    def halve(self, device: torch.device) -> None:
        """Go on with half; raises ConfigError where the size is fixed or 1."""
        if self.fixed and self.size > 1:
            raise ConfigError(
                f"a batch of {self.size} images does not fit into the memory of {device}: use "
                "--batch-size auto, or a smaller one"
            )
        if self.size == 1:
            raise ConfigError(
                f"one image does not fit into the memory of {device}: use a smaller --image-size, "
                "a smaller encoder, or a device with more memory"
            )
        self.size //= 2
        _log.info("out of memory on %s: going on with batches of %d", device, self.size)
