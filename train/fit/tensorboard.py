"""TensorBoard events of a run, one set of curves for each member."""

from collections.abc import Callable
from pathlib import Path

from samcache.cache.errors import ConfigError
from samcache.train.fit.training import EpochMetrics

_KEYS = ("seed", "fold", "fraction", "epoch")  # of a line, which are no curves


def open_event_writer(folder: Path) -> Callable[[str, EpochMetrics], None]:
    """A function that writes one member's epoch (name, metrics) to ``folder/name``.

    Raises ConfigError where the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard events need tensorboard: pip install 'samcache[tensorboard]'",
            hint="tensorboard",
        ) from error
    writers: dict[str, SummaryWriter] = {}

    def write(name: str, line: EpochMetrics) -> None:
        if name not in writers:
            writers[name] = SummaryWriter(str(folder / name))
        for curve, value in line.to_line().items():
            if curve not in _KEYS:
                writers[name].add_scalar(curve, value, line.epoch)
        writers[name].flush()

    return write
