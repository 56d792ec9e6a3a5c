"""The options that a sweep varies, written as ``lr=1e-4..1e-2``, ``fusion=gate|residual``."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from samcache.cache.errors import ConfigError
from samcache.cache.files.typed_fields import read_field
from samcache.train.config import TrainConfig

SEARCHABLE = (  # the options of a training that may vary
    *("backbone", "stem", "taps", "kernel", "reduction", "fusion", "join", "batch_size", "lr"),
    *("weight_decay", "schedule", "label_smoothing", "mixup"),
)
DEFAULT_SEARCH = ("lr=1e-4..1e-2", "weight-decay=1e-3..0.3", "fusion=gate|residual")

_CHOSEN = ("kernel",)  # each value is loaded on its own
_AUTO = "auto"  # a kernel of None
_TRUTH = {"true": True, "false": False}
_LOGARITHMIC = 10  # ranges that reach so far are searched by order of magnitude


def _parse_value(name: str, text: str) -> Any:
    """The value of an option that a text names; raises ValueError where train does not take it."""
    kind = read_field(TrainConfig, name)
    if name == "kernel" and text == _AUTO:
        return None
    if kind.value is tuple:
        return tuple(part.strip() for part in text.split(","))
    if kind.value is bool and text in _TRUTH:
        return _TRUTH[text]
    value = kind.value(text)
    known = kind.value is not bool and (not kind.choices or text in kind.choices)
    if not known or (kind.value is not str and not (kind.allows(value) and isfinite(value))):
        raise ValueError
    return value


class Suggests(Protocol):
    """What chooses values: an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...
    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> Any: ...


@dataclass(frozen=True)
class Dimension:
    """One option and the values it may take: either choices, as text, or everything in a range."""

    name: str
    choices: tuple[str, ...] = ()
    range: tuple[float, float] = (0, 0)

    def suggest(self, trial: Suggests) -> Any:
        """The value that a trial takes, of the option's type."""
        if self.choices:
            return self.parse(trial.suggest_categorical(self.name, self.choices))
        low, high = self.range
        log = low > 0 and high >= _LOGARITHMIC * low
        if read_field(TrainConfig, self.name).value is int:
            return trial.suggest_int(self.name, int(low), int(high), log=log)
        return trial.suggest_float(self.name, low, high, log=log)

    def __str__(self) -> str:
        """As it is written on the command line."""
        option = self.name.replace("_", "-")
        if self.choices:
            return f"{option}={'|'.join(self.choices)}"
        return f"{option}={self.range[0]:g}..{self.range[1]:g}"

    def parse(self, recorded: Any) -> Any:
        """The option's value from what a trial recorded of it."""
        return _parse_value(self.name, recorded) if self.choices else recorded

    def record(self, value: Any) -> Any:
        """What a trial records of an option's value; None where the search has no such value."""
        if self.choices:
            return next((text for text in self.choices if self.parse(text) == value), None)
        return value if self.range[0] <= value <= self.range[1] else None

    @property
    def values(self) -> tuple[Any, ...]:
        """The choices as values; of a range its ends."""
        return tuple(map(self.parse, self.choices)) or self.range


def parse_search(texts: tuple[str, ...]) -> tuple[Dimension, ...]:
    """Dimensions from ``option=low..high`` and ``option=a|b|c``; raises ConfigError."""
    dimensions = tuple(_parse_dimension(text) for text in texts)
    names = [dimension.name for dimension in dimensions]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the search names {name} more than once", hint="search")
    return dimensions


def _parse_dimension(text: str) -> Dimension:
    option, _, values = text.partition("=")
    name = option.strip().replace("-", "_")
    if name not in SEARCHABLE:
        known = ", ".join(option.replace("_", "-") for option in SEARCHABLE)
        raise ConfigError(f"search {text!r} should begin with one of {known}, and =", hint="search")
    kind = read_field(TrainConfig, name)
    ranges = kind.value in (int, float) and name not in _CHOSEN
    known_values = tuple(_TRUTH) if kind.value is bool else kind.choices
    try:
        low, dots, high = values.partition("..")
        if dots and ranges:
            found = Dimension(name, range=(_parse_value(name, low), _parse_value(name, high)))
            if not found.range[0] < found.range[1]:
                raise ValueError
            return found
        found = Dimension(name, tuple(choice.strip() for choice in values.split("|")))
        if "" in found.choices or len(set(found.values)) < len(found.choices):
            raise ValueError
    except ValueError:
        wanted = f"{option}={'|'.join(known_values) or 'a|b|c'}, each value once"
        wanted += f", or {option}=low..high" if ranges else ""
        raise ConfigError(
            f"search {text!r} should be {wanted}, with values that train takes", hint="search"
        ) from None
    return found
