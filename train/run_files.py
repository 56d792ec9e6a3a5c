"""The files of a finished run, as train wrote them: a file that was changed since is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.digest import file_sha256
from samcache.cache.errors import ConfigError, StoreError, first_line
from samcache.train.csv_cells import read_cell
from samcache.train.run_folder import CONFIG, RESULTS, SEEN, is_sealed
from samcache.train.unsealed import check_unsealed

_TEXT = ("id", "label", "group", "split")


@dataclass(frozen=True)
class RunFiles:
    """A finished run's folder, what its config.json says, and what its results.json says."""

    folder: Path
    config: dict[str, Any]
    results: dict[str, Any]

    def path(self, name: str) -> Path:
        """A file's path; raises ValueError where the file is not what train wrote.

        Older runs tell no checksums: their files are taken as they are.
        """
        path, told = self.folder / name, self.results.get("files", {})
        if name in told and file_sha256(path) != told[name]:
            raise ValueError(f"{name} was changed since the run was finished")
        return path

    def check_present(self) -> None:
        """Raise ValueError where a file that is there is not what train wrote."""
        for name in self.results.get("files", {}):
            if (self.folder / name).is_file():
                self.path(name)


def open_files(folder: Path) -> RunFiles:
    """Read a run's config.json and results.json; raises ConfigError where there is no results.json.

    Raises ValueError where they hold no JSON objects, or one of them was changed.
    """
    if not (folder / RESULTS).is_file():
        raise ConfigError(f"{folder} holds no finished run: it has no {RESULTS}")
    files = RunFiles(folder, _read_object(folder / CONFIG), _read_object(folder / RESULTS))
    sealed = is_sealed(files.results)
    if sealed is False:
        raise ValueError(f"{RESULTS} was changed since the run was finished")
    if sealed is None:
        check_unsealed(folder, files.results)
    files.path(CONFIG)
    return files


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


def _read_object(path: Path) -> dict[str, Any]:
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
    for name in table.columns.intersection(list(_TEXT)):
        table[name] = table[name].map(read_cell)
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise ValueError(f"{path.name} has no column {lacking[0]!r}")
    return table


def read_seen(folder: Path) -> set[str]:
    """SHA-256 of the images that a run has learned from or chosen by; raises ConfigError."""
    with told_of_run(folder):
        return set(read_table(open_files(folder).path(SEEN), ("id", "sha256"))["sha256"])


def read_tests(path: Path, classes: tuple[str, ...]) -> dict[float, pd.DataFrame]:
    """The test rows of predictions.csv by fraction, sorted by seed and id; raises ValueError."""
    chances = [f"p_{name}" for name in classes]
    table = read_table(path, ("seed", "fold", "fraction", *_TEXT, *chances))
    test = table[table["split"] == "test"].astype(dict.fromkeys(chances, np.float64))
    test = test.sort_values(["seed", "id"])
    return {float(str(fraction)): part for fraction, part in test.groupby("fraction")}
