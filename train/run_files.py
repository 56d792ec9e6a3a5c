"""The files of a finished run, read where they may have been cut short or changed since."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError, StoreError, first_line
from samcache.train.run_folder import SEEN

_TEXT = ("id", "label", "group", "split")
_NOT_ONE = 1e-3  # how far from 1 no softmax in float32 sums


@contextmanager
def told_of_run(folder: Path) -> Iterator[None]:
    """Whatever is amiss with a run's files becomes a ConfigError of one line."""
    try:
        yield
    except PermissionError as error:
        raise not_permitted(error) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise ConfigError(f"{folder} cannot be read as a run ({what}): train it anew") from None


def not_permitted(error: PermissionError) -> ConfigError:
    """What is said of a run's file that is there, and may be whole, but not for this user."""
    return ConfigError(
        f"{error.filename} may not be read ({error.strerror}): ask its owner for the right to"
    )


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; raises ValueError where it holds none."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return value


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV file of a run with these columns at least; raises ValueError where one lacks."""
    text = dict.fromkeys(_TEXT, str)
    table = pd.read_csv(path, dtype=text, keep_default_na=False)
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise ValueError(f"{path.name} has no column {lacking[0]!r}")
    return table


def read_seen(folder: Path) -> set[str]:
    """SHA-256 of the images that a run has learned from or chosen by; raises ConfigError."""
    with told_of_run(folder):
        return set(read_table(folder / SEEN, ("id", "sha256"))["sha256"])


def as_numbers(table: pd.DataFrame, columns: list[str], name: str) -> pd.DataFrame:
    """The table with float64 in these columns; raises ValueError where one is no number."""
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    bad = ~np.isfinite(numbers.to_numpy())
    if bad.any():
        raise ValueError(f"{name} has no number in {columns[int(bad.any(axis=0).argmax())]!r}")
    return table.assign(**numbers)


def read_tests(path: Path, classes: tuple[str, ...]) -> dict[float, pd.DataFrame]:
    """The test rows of predictions.csv by fraction, sorted by seed and id; raises ValueError."""
    chances = [f"p_{name}" for name in classes]
    table = read_table(path, ("seed", "fold", "fraction", *_TEXT, *chances))
    test = as_numbers(table[table["split"] == "test"], ["seed", "fraction", *chances], path.name)
    if unknown := sorted(set(test["label"]) - set(classes)):
        raise ValueError(f"{path.name} has the label {unknown[0]!r}, which is no class of the run")
    if (abs(test[chances].sum(axis=1) - 1) > _NOT_ONE).any():
        raise ValueError(f"{path.name} has probabilities that do not sum to 1")
    test = test.astype({"seed": np.int64}).sort_values(["seed", "id"])
    return {float(str(fraction)): part for fraction, part in test.groupby("fraction")}


def check_whole(tests: dict[float, pd.DataFrame], results: dict[str, Any]) -> None:
    """Raise ValueError where test rows lack that results.json tells of, or seeds differ in them."""
    told = {float(entry["fraction"]): int(entry["test_samples"]) for entry in results["fractions"]}
    if not told or told.keys() != tests.keys():
        raise ValueError("predictions.csv and results.json do not tell of the same fractions")
    for fraction, test in tests.items():
        seeds = {m["seed"] for m in results["members"] if m["fraction"] == fraction}
        if test["seed"].value_counts().to_dict() != dict.fromkeys(seeds, told[fraction]):
            raise ValueError(
                f"predictions.csv has {len(test)} test rows of fraction {fraction:g}, results.json "
                f"tells of {told[fraction]} for each of {len(seeds)} seeds"
            )
        samples = test[["id", "label", "group"]].to_numpy().reshape(len(seeds), -1, 3)
        if (samples != samples[0]).any():
            raise ValueError("predictions.csv has other test samples for each seed")
