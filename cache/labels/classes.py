"""Class names: which of them have images, and which look like a mistake in the labels."""

import re
import unicodedata

import numpy as np
import pandas as pd

from samcache.cache.text import list_first

UNLABELLED = "unlabelled"  # where counts have names of classes and a store has no labels
_MISSING = {"", "nan", "<na>", "na", "n/a", "#n/a", "none", "null", "nat", "nil", "?", "-"}
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}([.,][0-9]{0,18})?(e[-+]?[0-9]{1,3})?", re.IGNORECASE)
_INTEGER = re.compile("-?[0-9]{1,18}")  # digits that int() converts fast
_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
_FEW_NUMBERS = 10  # classes: grades and scores have fewer values, measurements more
_SHOWN = 3  # classes named in a sentence


def index_classes(names: pd.Series) -> tuple[tuple[str, ...], pd.Series]:
    """Class names in order (by value where all are integers), and each sample's index."""
    unique = sorted(names.unique())
    if all(_INTEGER.fullmatch(name) for name in unique):
        unique = sorted(unique, key=int)
    index = {name: label for label, name in enumerate(unique)}
    return tuple(unique), names.map(index).astype("int64")


def list_used_classes(samples: pd.DataFrame, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that at least one sample of a table has, in order."""
    counts = count_classes(samples, classes) if classes else {}
    return tuple(name for name, count in counts.items() if count)


def count_classes(samples: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, int]:
    """How many samples of a table each class has; without classes, how many there are."""
    if not classes:
        return {UNLABELLED: len(samples)}
    counts = np.bincount(samples["label"].to_numpy(), minlength=len(classes))
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def list_unused_classes(samples: pd.DataFrame, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that no sample of a table has: all their images were relabelled or dropped."""
    used = set(list_used_classes(samples, classes))
    return tuple(name for name in classes if name not in used)


def find_look_alikes(classes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Classes that differ only in letter case, spaces, separators or the format of a number."""
    alike: dict[str | float, list[str]] = {}
    for name in classes:
        alike.setdefault(_strip_spelling(name), []).append(name)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def find_missing_labels(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Classes named as programs write a label that is missing, such as "nan"."""
    return tuple(name for name in classes if name.strip().casefold() in _MISSING)


def are_measurements(classes: tuple[str, ...], images: int) -> bool:
    """Whether the classes are numbers that look measured: many, and not whole or hardly repeated.

    images: how many have these labels. Missing labels among the numbers do not count.
    """
    absent = find_missing_labels(classes)
    numbers = [name.strip() for name in classes if name not in absent]
    if len(numbers) <= _FEW_NUMBERS or not all(_NUMBER.fullmatch(name) for name in numbers):
        return False
    whole = all(_parse_number(name).is_integer() for name in numbers)
    return not whole or images < 2 * len(numbers)


def are_identifiers(classes: tuple[str, ...], images: int) -> bool:
    """Whether labels look like dates, names or numbers of images: many, and hardly repeated."""
    return len(classes) > _FEW_NUMBERS and images < 2 * len(classes)


def quote_names(names: tuple[str, ...]) -> str:
    """The first few names in quotes, such as "'a', 'b', 'c', …"."""
    return list_first([*map(repr, names)], _SHOWN)


def _strip_spelling(name: str) -> str | float:
    """What is left of a name without its spelling; a number's value."""
    plain = unicodedata.normalize("NFKC", name).strip().casefold()
    return _parse_number(plain) if _NUMBER.fullmatch(plain) else _BETWEEN.sub(" ", plain)


def parse_number(text: str) -> float | None:
    """The value of a number in decimal digits, with a point or a comma; None for other text."""
    return _parse_number(text.strip()) if _NUMBER.fullmatch(text.strip()) else None


def _parse_number(number: str) -> float:
    return float(number.replace(",", "."))
