"""The options of one training, their limits and defaults, and the command line that gives them.

The command line and the search of a sweep take types, limits and defaults from here. Nothing heavy
is imported, so that ``--help`` answers at once.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from samcache.cache.errors import ConfigError
from samcache.train.tasks.options import STORE_LABELS, TaskOptions

DEFAULT_TAPS = {
    "patch": "stem",
    "early": "stage1",
    "middle": "stage2",
    "late": "stage3",
    "neck": "stage4",
}

GATES_ALONE = ("taps", "kernel", "reduction", "fusion")  # they change nothing without attention

Attention = Literal["none", "slca", "shuffled", "random", "global", "per-location"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig:
    """The options of ``samcache train``; None means a default that depends on the store."""

    store: str | Path  # a folder or a URL
    out: Path
    more_stores: tuple[str, ...] = ()  # of the same images, whose levels are read too
    attention: Attention = "slca"
    backbone: str = "resnet18"
    pretrained: str | None = None  # a file of weights, or "download"
    stem: Literal["standard", "small"] = "standard"
    taps: tuple[str, ...] | None = None  # "level:stage", or "level:path of a module"
    kernel: Annotated[int, Meta(ge=1)] | None = None  # in cells of the encoder's unpooled maps
    reduction: Annotated[int, Meta(ge=1)] = 4
    fusion: Literal["gate", "residual"] = "gate"
    join: bool = False  # a second head classifies the levels' spreads
    task: TaskOptions = STORE_LABELS  # the question
    epochs: Annotated[int, Meta(ge=1)] = 30
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: Annotated[int, Meta(ge=2)] | None = None  # cross-validation instead of the splits
    fractions: tuple[float, ...] = (1.0,)  # of the training rows
    image_size: Annotated[int, Meta(ge=16)] | None = None
    batch_size: Annotated[int, Meta(ge=2)] = 64
    lr: Annotated[float, Meta(gt=0)] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.05
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    class_weights: bool = False
    balanced_sampling: bool = False
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Meta(ge=0)] = 0.0  # alpha of the Beta distribution; 0 is off
    keep: Literal["best", "last"] = "best"  # epoch by validation AUC, or the last epoch
    patience: Annotated[int, Meta(ge=1)] | None = None  # epochs without a better one
    augment: bool = True
    device: str = "auto"  # or a torch device
    precision: Precision = "auto"
    compile: bool = False
    residency: Literal["device", "memory", "disk"] | None = None  # None: the first with room
    tensorboard: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for options that exclude each other."""
        if self.keep == "last" and self.patience is not None:
            raise ConfigError(
                "patience stops a training after epochs without a better one, and the last epoch "
                "is kept: give one of the two",
                hint="patience keep",
            )
        if self.attention == "none":
            self._check_nothing_gated()
        if self.taps == ():
            raise ConfigError(
                "no taps were given: give LEVEL:STAGE, or train without attention",
                hint="taps attention",
            )
        if self.folds is not None and self.task.folds_by is not None:
            raise ConfigError(
                "folds are counted, or made of a column's values: give one of the two",
                hint="folds folds_by",
            )
        if self.class_weights and self.balanced_sampling:
            raise ConfigError(
                "class weights and balanced sampling both compensate for rare classes: give one of "
                "them",
                hint="class_weights balanced_sampling",
            )

    def _check_nothing_gated(self) -> None:
        for name in GATES_ALONE:
            if getattr(self, name) != getattr(TrainConfig, name):
                raise ConfigError(
                    f"{name} is an option of SLCA's gates, and attention none has no gates: leave "
                    "it out",
                    hint=name,
                )

    def resolve_taps(self, levels: tuple[str, ...]) -> dict[str, str]:
        """Level -> backbone stage for a store's levels; raises ConfigError.

        Without ``taps``, those of DEFAULT_TAPS whose level the store has.
        """
        if self.attention == "none":
            return {}
        if self.taps is None:
            taps = choose_default_taps(levels)
            if not taps:
                raise ConfigError(
                    f"the default taps use none of the store's levels, {', '.join(levels)}: give "
                    "LEVEL:STAGE",
                    hint="taps",
                )
            return taps
        taps = {}
        for text in self.taps:
            level, _, stage = text.partition(":")
            if level not in levels or not stage or level in taps:
                raise ConfigError(
                    f"tap {text!r} should be LEVEL:STAGE, each level once, with a level of the "
                    f"store: {', '.join(levels)}",
                    hint="taps",
                )
            taps[level] = stage
        return taps

    def to_json(self) -> dict[str, Any]:
        """All options as plain values."""
        values = {k: v for k, v in asdict(self).items() if k != "task"}
        values["ordered"] = self.task.ordered
        if not self.more_stores:
            del values["more_stores"]
        if task := self.task.to_json():
            values["task"] = task
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def choose_default_taps(levels: tuple[str, ...]) -> dict[str, str]:
    """Level -> stage of DEFAULT_TAPS, for the levels that a store, or each of several, has."""
    return {
        level: stage
        for name, stage in DEFAULT_TAPS.items()
        for level in levels
        if level.rpartition("/")[2] == name
    }


def make_command(config: TrainConfig) -> list[str]:
    """The words of the command that trains with these options, without those at their default.

    The command line parses the words to an equal TrainConfig.
    """
    stores = [str(config.store), *config.more_stores]
    words = ["samcache", "train", *stores, name_option("out"), str(config.out)]
    chosen = [*_list_choices(config), *_list_choices(config.task)]
    for field, value in chosen:
        if field.name in ("store", "out", "more_stores", "task"):
            continue
        if isinstance(value, bool):
            words.append(name_option(field.name if value else f"no_{field.name}"))
        else:
            words += [name_option(field.name), _write_value(value)]
    return words


def _list_choices(options: Any) -> list[tuple[Any, Any]]:
    """Each field of an options dataclass that is not at its default, with its value."""
    values = [(field, getattr(options, field.name)) for field in fields(options)]
    return [(field, value) for field, value in values if value not in (None, field.default)]


def name_option(field: str) -> str:
    """The option of the command line that sets a field."""
    return f"--{field.replace('_', '-')}"


def _write_value(value: Any) -> str:
    return ",".join(map(_write_value, value)) if isinstance(value, tuple) else str(value)
