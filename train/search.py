"""What a sweep may vary, and the words that say so: ``lr=1e-4..1e-2``, ``fusion=gate|residual``."""

from dataclasses import dataclass
from typing import Any, Protocol

from samcache.cache.errors import ConfigError

# the options of a training that may vary, with their types; those of tuples are comma-separated
SEARCHABLE: dict[str, type] = {
    "backbone": str,
    "stem": str,
    "taps": tuple,
    "kernel": int,
    "reduction": int,
    "fusion": str,
    "batch_size": int,
    "lr": float,
    "weight_decay": float,
    "schedule": str,
    "label_smoothing": float,
    "mixup": float,
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
        kind = SEARCHABLE[self.name]
        if self.choices:
            return self.typed(trial.suggest_categorical(self.name, self.choices))
        low, high = self.range
        log = low > 0 and high >= _LOGARITHMIC * low
        if kind is int:
            return trial.suggest_int(self.name, int(low), int(high), log=log)
        return trial.suggest_float(self.name, low, high, log=log)

    def value(self, text: str) -> Any:
        """A choice as a value of the option's type; raises ValueError."""
        kind = SEARCHABLE[self.name]
        return tuple(part.strip() for part in text.split(",")) if kind is tuple else kind(text)

    def __str__(self) -> str:
        """As it is written on the command line."""
        option = self.name.replace("_", "-")
        if self.choices:
            return f"{option}={'|'.join(self.choices)}"
        return f"{option}={self.range[0]:g}..{self.range[1]:g}"

    def typed(self, recorded: Any) -> Any:
        """The option's value from what a trial recorded of it."""
        return self.value(recorded) if self.choices else recorded

    def recorded(self, value: Any) -> Any:
        """What a trial records of an option's value; None where the search has no such value."""
        if self.choices:
            return next((text for text in self.choices if self.value(text) == value), None)
        return value if self.range[0] <= value <= self.range[1] else None

    @property
    def values(self) -> tuple[Any, ...]:
        """The choices as values; of a range its ends."""
        kind = SEARCHABLE[self.name]
        if self.choices:
            return tuple(self.value(text) for text in self.choices)
        return tuple(kind(end) for end in self.range)


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
    try:
        low, dots, high = values.partition("..")
        if dots and SEARCHABLE[name] in (int, float) and name not in _CHOSEN:
            ends = SEARCHABLE[name](low), SEARCHABLE[name](high)
            if not ends[0] < ends[1]:
                raise ValueError
            return Dimension(name, range=ends)
        choices = tuple(choice.strip() for choice in values.split("|"))
        found = Dimension(name, choices)
        if "" in choices or len(set(found.values)) < len(choices):
            raise ValueError
    except ValueError:
        numbers = SEARCHABLE[name] in (int, float) and name not in _CHOSEN
        ranged = f", or {option}=low..high" if numbers else ""
        raise ConfigError(
            f"--search {text!r} should be {option}=a|b|c, each value once{ranged}"
        ) from None
    return found
