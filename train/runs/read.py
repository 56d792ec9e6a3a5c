"""The files of a finished run, as train wrote them: a file that was changed since is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError, StoreError, first_line
from samcache.cache.files.digest import file_sha256
from samcache.cache.files.place_kind import is_store
from samcache.cache.files.regular_file import IrregularFileError, check_regular, read_regular
from samcache.cache.files.typed_json import check_plain, parse_json
from samcache.cache.objects.base import LARGEST_RECORD
from samcache.train.runs.csv_cells import read_cell
from samcache.train.runs.folder import CONFIG, RESULTS, SEEN, check_seal, is_run_folder
from samcache.train.runs.records import check_config, check_results
from samcache.train.runs.unsealed import check_unsealed

LARGEST_FILE = 1 << 34  # bytes; whoever reads a file reads all of it first, for its checksum

_TEXT = ("id", "label", "group", "split")
_ROUNDING = 1e-3  # of probabilities, at the most


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
        check_regular(path, LARGEST_FILE)
        if name in told and file_sha256(path) != told[name]:
            raise ValueError(f"{name} was changed since the run was finished")
        return path

    def check_present(self) -> None:
        """Raise ValueError where a file that is there is not what train wrote."""
        for name in self.results.get("files", {}):
            if (self.folder / name).is_file():
                self.path(name)


def _what_instead(folder: Path) -> str:
    """What to give, or to do, where a folder holds no finished run."""
    if is_store(folder):
        return "it is a store: give a folder that samcache train has written from it"
    if is_run_folder(folder):
        return "run the same samcache train command to finish it"
    return "give a folder that samcache train has written"


def open_files(folder: Path) -> RunFiles:
    """Read a run's config.json and results.json; raises ConfigError where there is no results.json.

    Raises ValueError where they hold other fields than ``run_records`` says, or were changed.
    """
    if not (folder / RESULTS).exists():
        raise ConfigError(
            f"{folder} holds no finished run: it has no {RESULTS}; {_what_instead(folder)}"
        )
    config, results = _read_object(folder / CONFIG), _read_object(folder / RESULTS)
    sealed = check_seal(results)
    if sealed is False:
        raise ValueError(f"{RESULTS} was changed since the run was finished")
    with in_file(CONFIG):
        check_config(config)
    with in_file(RESULTS):
        check_results(results, len(config.get("classes", ())))
    if sealed is None:
        check_unsealed(folder, results)
    files = RunFiles(folder, config, results)
    files.path(CONFIG)
    return files


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Let a ValueError about the content of a file begin with the file's name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def told_of_run(folder: Path) -> Iterator[None]:
    """Whatever is amiss with a run's files becomes a ConfigError of one line."""
    try:
        yield
    except PermissionError as error:
        raise not_permitted(error) from None
    except IrregularFileError as error:
        raise ConfigError(f"{error.filename} {error.strerror}: bring the run's own file") from None
    except (OSError, ValueError, KeyError, StoreError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise ConfigError(f"{folder} cannot be read as a run ({what}): train it anew") from None


def not_permitted(error: PermissionError) -> ConfigError:
    """What is said of a run's file that is there, and may be whole, but not for this user."""
    return ConfigError(
        f"{error.filename} may not be read ({error.strerror}): ask its owner for the right to"
    )


def _read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; raises ValueError where it holds none, or what no run holds."""
    with in_file(path.name):
        value = parse_json(read_regular(path, LARGEST_RECORD))
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
        check_plain(value)
    return value


def read_table(
    path: Path, columns: tuple[str, ...], whole: tuple[str, ...] = (), real: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A CSV file of a run with these columns at least, of them whole and real numbers.

    Raises ValueError where a column lacks or holds something else.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
    except (ValueError, MemoryError):  # not UTF-8, no table, or too large a one
        raise ValueError(f"{path.name} is not a CSV table in UTF-8") from None
    for name in (*columns, *whole, *real):
        if name not in table.columns:
            raise ValueError(f"{path.name} has no column {name!r}")
    for names, kinds in ((whole, "i"), (real, "iuf")):
        odd = [name for name in names if table.dtypes[name].kind not in kinds]
        if odd and len(table):
            raise ValueError(f"{path.name} has a column {odd[0]!r} that holds more than numbers")
    for name in table.columns.intersection(list(_TEXT)):
        table[name] = table[name].map(read_cell)
    return table.astype(dict.fromkeys(real, np.float64))


def read_seen(folder: Path) -> set[str]:
    """SHA-256 of the images that a run has learned from or chosen by; raises ConfigError."""
    with told_of_run(folder):
        return set(read_table(open_files(folder).path(SEEN), ("id", "sha256"))["sha256"])


def read_tests(path: Path, classes: tuple[str, ...]) -> dict[float, pd.DataFrame]:
    """The test rows of predictions.csv by fraction, sorted by seed and id.

    Raises ValueError where it has none, or what it says of them cannot be.
    """
    chances = [f"p_{name}" for name in classes]
    table = read_table(path, ("fold", *_TEXT), ("seed",), ("fraction", *chances))
    test = table[table["split"] == "test"].sort_values(["seed", "id"])
    values = test[chances].to_numpy()
    if not ((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all():
        raise ValueError(f"{path.name} holds probabilities that are not between 0 and 1")
    if not test["label"].isin(classes).all():
        raise ValueError(f"{path.name} holds labels that are none of the run's classes")
    if not test["fold"].astype(str).str.fullmatch("[0-9]{0,9}").all():
        raise ValueError(f"{path.name} holds folds that are not numbers")
    tests = {float(str(fraction)): part for fraction, part in test.groupby("fraction")}
    if not tests or not all(map(_same_for_all_seeds, tests.values())):
        raise ValueError(f"{path.name} does not hold the same test samples for every seed")
    return tests


def _same_for_all_seeds(test: pd.DataFrame) -> bool:
    first, *others = (part["id"].to_numpy() for _, part in test.groupby("seed"))
    return all(np.array_equal(first, ids) for ids in others)
