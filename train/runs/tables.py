"""The CSV files of a run, with the types and ranges that train writes."""

from pathlib import Path

import numpy as np
import pandas as pd

from samcache.train.runs.csv_cells import read_cell
from samcache.train.tasks.targets.base import Target

_TEXT = ("id", "label", "group", "split")
_DRAWN = ("fraction", "epoch", "train_loss", "val_loss")  # of metrics.csv
_ROUNDING = 1e-3  # of probabilities, at the most


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


def read_seen(path: Path) -> set[str]:
    """The SHA-256 in seen.csv; raises ValueError where it has none."""
    return set(read_table(path, ("id", "sha256"))["sha256"])


def read_epochs(path: Path, selection: str) -> pd.DataFrame:
    """The epochs in metrics.csv; raises ValueError where a figure lacks or is no number.

    selection: the metric that chose the epoch.
    """
    return read_table(path, ("fold",), ("seed",), (*_DRAWN, f"val_{selection}"))


def read_tests(path: Path, target: Target) -> dict[float, pd.DataFrame]:
    """The test rows of predictions.csv by fraction, sorted by seed and id.

    Raises ValueError where it has none, or what it says of them cannot be.
    """
    outputs = list(target.output_columns)
    text = ("fold", "id", "group", "split", *target.label_columns)
    table = read_table(path, text, ("seed",), ("fraction", *outputs))
    test = table[table["split"] == "test"].sort_values(["seed", "id"])
    values = test[outputs].to_numpy()
    if target.scaled and not np.isfinite(values).all():
        raise ValueError(f"{path.name} holds values that are no numbers")
    if not target.scaled and not ((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all():
        raise ValueError(f"{path.name} holds probabilities that are not between 0 and 1")
    try:
        target.read_labels(test)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not test["fold"].astype(str).str.fullmatch("[0-9]{0,9}").all():
        raise ValueError(f"{path.name} holds folds that are not numbers")
    tests = {float(str(fraction)): part for fraction, part in test.groupby("fraction")}
    if not tests or not all(map(_same_for_all_seeds, tests.values())):
        raise ValueError(f"{path.name} does not hold the same test samples for every seed")
    return tests


def _same_for_all_seeds(test: pd.DataFrame) -> bool:
    first, *others = (part["id"].to_numpy() for _, part in test.groupby("seed"))
    return all(np.array_equal(first, ids) for ids in others)
