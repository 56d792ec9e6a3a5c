"""The error of a training for which a GPU, or the machine, has no memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from samcache.cache.errors import ConfigError
from samcache.cache.memory import ran_out_of_memory
from samcache.train.data.dataset import TrainingData


class TooLargeError(ConfigError):
    """The device has no memory for a step of these options."""


@contextmanager
def report_memory_errors(member: str, data: TrainingData, batch_size: int) -> Iterator[None]:
    """Raise TooLargeError with what a step was, and what to do, where it does not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        side, lighter = data.images.shape[-1], ""
        if data.residency == "device":
            lighter = ", or keep the data in memory"
        raise TooLargeError(
            f"{member}: a step of {batch_size} images of {side} pixels does not fit into "
            f"the memory of {data.device}: use a smaller batch size{lighter}",
            hint="batch_size residency" if lighter else "batch_size",
        ) from None
