"""The options of one training, and what follows from them."""

import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from samcache.cache.errors import ConfigError

DEFAULT_TAPS = {
    "patch": "stem",
    "early": "stage1",
    "middle": "stage2",
    "late": "stage3",
    "neck": "stage4",
}

GATES_ALONE = ("taps", "kernel", "reduction", "fusion")  # nothing without attention


@dataclass(frozen=True)
class TrainConfig:
    """The options of ``samcache train``; None means a default that the store decides."""

    store: str | Path  # a folder or a URL
    out: Path
    attention: str = "slca"  # "none", or one of the controls in controls.py
    backbone: str = "resnet18"
    pretrained: str | None = None  # a file of weights, or "download"
    stem: str = "standard"  # or "small"
    taps: tuple[str, ...] | None = None  # "level:stage", or "level:path of a module"
    kernel: int | None = None  # in cells of the encoder's unpooled maps; None: by the stage
    reduction: int = 4
    fusion: str = "gate"  # or "residual"
    join: bool = False  # a head that reads the levels' spreads joins the backbone's
    epochs: int = 30
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: int | None = None  # cross-validation instead of the store's splits
    fractions: tuple[float, ...] = (1.0,)  # of the training rows
    ordered: bool = False  # the classes are grades in their order
    image_size: int | None = None
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    schedule: str = "onecycle"  # or "cosine"
    class_weights: bool = False
    balanced_sampling: bool = False
    label_smoothing: float = 0.0
    mixup: float = 0.0  # alpha of the Beta distribution; 0 is off
    keep: str = "best"  # epoch by validation AUC, or "last"
    patience: int | None = None  # epochs without a better one before a training stops
    augment: bool = True
    device: str = "cpu"
    precision: str = "auto"  # or "float32", "bfloat16"
    compile: bool = False
    residency: str | None = None  # "device", "memory" or "disk"; None is the first with room
    tensorboard: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for options that exclude each other."""
        if self.keep == "last" and self.patience is not None:
            raise ConfigError("--patience waits for a better epoch: leave it out with --keep last")
        if self.attention == "none":
            self._check_nothing_gated()
        if self.taps == ():
            raise ConfigError("--taps names none: give LEVEL:STAGE, or --attention none")
        if self.class_weights and self.balanced_sampling:
            raise ConfigError("--class-weights and --balanced-sampling do the same: give one")

    def _check_nothing_gated(self) -> None:
        for name in GATES_ALONE:
            if getattr(self, name) != getattr(TrainConfig, name):
                raise ConfigError(
                    f"--{name} says how SLCA gates: leave it out with --attention none"
                )

    def tapped(self, levels: tuple[str, ...]) -> dict[str, str]:
        """Level -> backbone stage for a store's levels; raises ConfigError.

        Without ``taps``, those of DEFAULT_TAPS whose level the store has.
        """
        if self.attention == "none":
            return {}
        if self.taps is None:
            taps = {level: stage for level, stage in DEFAULT_TAPS.items() if level in levels}
            if not taps:
                raise ConfigError(
                    f"none of the default taps' levels is in the store, which has "
                    f"{', '.join(levels)}: give --taps LEVEL:STAGE"
                )
            return taps
        taps = {}
        for text in self.taps:
            level, _, stage = text.partition(":")
            if level not in levels or not stage or level in taps:
                raise ConfigError(
                    f"--taps {text!r} should be LEVEL:STAGE, each level once, with a level of the "
                    f"store: {', '.join(levels)}"
                )
            taps[level] = stage
        return taps

    def command(self) -> str:
        """The command line that trains so: whatever differs from the defaults."""
        words = ["samcache", "train", str(self.store), "--out", str(self.out)]
        for field in fields(self)[2:]:
            value, option = getattr(self, field.name), field.name.replace("_", "-")
            if value == field.default:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif value is not None:
                words += [f"--{option}", _word(value)]
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        """All options as plain values."""
        values = asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def _word(value: Any) -> str:
    return ",".join(map(_word, value)) if isinstance(value, tuple) else str(value)
