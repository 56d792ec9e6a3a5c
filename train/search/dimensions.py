"""What a sweep may vary, and the words that say so: ``lr=1e-4..1e-2``, ``fusion=gate|residual``."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Protocol

from samcache.cache.errors import ConfigError


@dataclass(frozen=True)
class Kind:
    """The values that an option of training can have at all; tuples are comma-separated."""

    type: type
    least: float = -inf
    most: float = inf
    known: tuple[str, ...] = ()  # empty: any text
    none: str = ""  # the text that stands for None

    def value(self, text: str) -> Any:
        """The value that a text names; raises ValueError."""
        if self.none and text == self.none:
            return None
        if self.type is tuple:
            return tuple(part.strip() for part in text.split(","))
        value = text == "true" if self.type is bool else self.type(text)
        if self.type in (str, bool):
            fits = not self.known or text in self.known
        else:
            fits = self.least <= value <= self.most and isfinite(value)
        if not fits:
            raise ValueError
        return value


# the options of a training that may vary
SEARCHABLE = {
    "backbone": Kind(str),
    "stem": Kind(str, known=("standard", "small")),
    "taps": Kind(tuple),
    "kernel": Kind(int, 1, none="auto"),
    "reduction": Kind(int, 1),
    "fusion": Kind(str, known=("gate", "residual")),
    "join": Kind(bool, known=("true", "false")),
    "batch_size": Kind(int, 2),
    "lr": Kind(float, 1e-12),
    "weight_decay": Kind(float, 0),
    "schedule": Kind(str, known=("onecycle", "cosine")),
    "label_smoothing": Kind(float, 0, 0.999),
    "mixup": Kind(float, 0),
}
DEFAULT_SEARCH = ("lr=1e-4..1e-2", "weight-decay=1e-3..0.3", "fusion=gate|residual")

_CHOSEN = ("kernel",)  # each value is loaded on its own
_LOGARITHMIC = 10  # ranges that reach so far are searched by order of magnitude


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
            return self.typed(trial.suggest_categorical(self.name, self.choices))
        low, high = self.range
        log = low > 0 and high >= _LOGARITHMIC * low
        if SEARCHABLE[self.name].type is int:
            return trial.suggest_int(self.name, int(low), int(high), log=log)
        return trial.suggest_float(self.name, low, high, log=log)

    def __str__(self) -> str:
        """As it is written on the command line."""
        option = self.name.replace("_", "-")
        if self.choices:
            return f"{option}={'|'.join(self.choices)}"
        return f"{option}={self.range[0]:g}..{self.range[1]:g}"

    def typed(self, recorded: Any) -> Any:
        """The option's value from what a trial recorded of it."""
        return SEARCHABLE[self.name].value(recorded) if self.choices else recorded

    def recorded(self, value: Any) -> Any:
        """What a trial records of an option's value; None where the search has no such value."""
        if self.choices:
            return next((text for text in self.choices if self.typed(text) == value), None)
        return value if self.range[0] <= value <= self.range[1] else None

    @property
    def values(self) -> tuple[Any, ...]:
        """The choices as values; of a range its ends."""
        return tuple(map(self.typed, self.choices)) or self.range


def parse_search(texts: tuple[str, ...]) -> tuple[Dimension, ...]:
    """Dimensions from ``option=low..high`` and ``option=a|b|c``; raises ConfigError."""
    dimensions = tuple(_parsed(text) for text in texts)
    names = [dimension.name for dimension in dimensions]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--search names {name} more than once")
    return dimensions


def _parsed(text: str) -> Dimension:
    option, _, values = text.partition("=")
    name = option.strip().replace("-", "_")
    if name not in SEARCHABLE:
        known = ", ".join(option.replace("_", "-") for option in SEARCHABLE)
        raise ConfigError(f"--search {text!r} should begin with one of {known}, and =")
    kind = SEARCHABLE[name]
    ranges = kind.type in (int, float) and name not in _CHOSEN
    try:
        low, dots, high = values.partition("..")
        if dots and ranges:
            found = Dimension(name, range=(kind.value(low), kind.value(high)))
            if not found.range[0] < found.range[1]:
                raise ValueError
            return found
        found = Dimension(name, tuple(choice.strip() for choice in values.split("|")))
        if "" in found.choices or len(set(found.values)) < len(found.choices):
            raise ValueError
    except ValueError:
        wanted = f"{option}={'|'.join(kind.known) or 'a|b|c'}, each value once"
        wanted += f", or {option}=low..high" if ranges else ""
        raise ConfigError(
            f"--search {text!r} should be {wanted}, with values that train takes"
        ) from None
    return found
