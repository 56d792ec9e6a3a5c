"""A table of labels: which of its columns names samples, and what the others say of them."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.digest import hash_file
from samcache.cache.files.npz_arrays import read_npz_arrays
from samcache.cache.files.text_table import SAVE_AS_CSV, SPREADSHEETS, read_table
from samcache.cache.format.samples import SPLITS

KEYS = {  # what of a sample a key names, and the usual columns, the likeliest first
    "id": (
        "id", "file", "file_name", "filename", "file_path", "filepath", "path", "image", "images",
        "image_id", "image_name", "image_index", "image_file", "image_path", "img", "isic_id",
    ),
    "sha256": ("sha256",),
    "case": (
        "case", "case_id", "patient", "patient_id", "subject", "subject_id", "group", "exam",
        "exam_id", "study", "study_id", "lesion", "lesion_id",
    ),
}  # fmt: skip
NPZ = ".npz"


@dataclass(frozen=True)
class LabelTable:
    """A table of labels; columns: text, "" where nothing is; the index is each row's line.

    by: what of a sample the column ``key`` names, of KEYS. sha256: of the file.
    """

    path: Path
    columns: pd.DataFrame
    by: str
    key: str
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(map(str, self.columns))

    @property
    def keys(self) -> pd.Series:
        """What names each row's samples."""
        return self.columns[self.key]

    def find_column(self, name: str, hint: str) -> "pd.Series[str]":
        """A column by its name; raises ConfigError, with the columns there are."""
        if name not in self.columns:
            raise ConfigError(
                f"{self.path} has no column {name!r}: it has {', '.join(self.names)}", hint=hint
            )
        return self.columns[name]


def open_label_table(path: Path, key: str | None, hint: str = "key") -> LabelTable:
    """Read a table, and find the column that names samples.

    key: as in TaskOptions; None takes the first usual name. A MedMNIST ``.npz`` is read as a table
    too: ids as its source gives them, a column for each label, and a column split. Raises
    SourceError for a file that is no table, ConfigError where it has no such column.
    """
    if path.suffix.lower() in SPREADSHEETS:
        raise ConfigError(f"{path} is a spreadsheet, which is not read: {SAVE_AS_CSV}")
    columns = read_npz_labels(path) if path.suffix.lower() == NPZ else read_table(path)
    columns = columns.apply(lambda column: column.str.strip())
    by, name = _choose_key(path, columns, key, hint)
    empty = columns.index[columns[name] == ""]
    if len(empty):
        raise ConfigError(f"{path}, line {empty[0]}: column {name!r} is empty", hint=hint)
    return LabelTable(path, columns, by, name, hash_file(path))


def _choose_key(path: Path, columns: pd.DataFrame, key: str | None, hint: str) -> tuple[str, str]:
    """What is named, and by which column."""
    by, equals, given = (key or "").partition("=")
    if equals and by in KEYS:
        usual: tuple[str, ...] = ()
    elif key in KEYS:
        by, given, usual = key, "", KEYS[key]
    else:
        by, given, usual = "id", key or "", ()
    if given:
        if given in columns:
            return by, given
    else:
        asked = {by: usual} if key else KEYS
        plain = {_plain(name): name for name in reversed(columns.columns)}
        for what, names in asked.items():
            found = [plain[name] for name in names if name in plain]
            if found:
                return what, found[0]
    wanted = f"column {given!r}" if given else "column that names images, such as id or file"
    raise ConfigError(
        f"{path} has no {wanted}: it has {', '.join(columns.columns)}: name the column", hint=hint
    )


def _plain(name: str) -> str:
    """A column's name in small letters, with one underscore for all between words."""
    return re.sub("[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def read_npz_labels(path: Path) -> pd.DataFrame:
    """The labels of a MedMNIST file as text: columns id, split, and "0", "1", … for each label.

    Raises SourceError for a damaged file, ConfigError for one of another layout.
    """
    found, _ = read_npz_arrays(path, [f"{split}_labels" for split in SPLITS])
    if not found:
        raise ConfigError(
            f"{path} should hold MedMNIST's arrays train_labels, val_labels and test_labels: give "
            "such a file, or a table"
        )
    tables = []
    for split in SPLITS:
        if (labels := found.get(f"{split}_labels")) is not None:
            ids = [f"{split}/{place:06d}" for place in range(len(labels))]
            table = pd.DataFrame(labels.reshape(len(labels), -1).astype(str)).rename(columns=str)
            tables.append(table.assign(id=ids, split=split))
    whole = pd.concat(tables, ignore_index=True)
    return whole.set_axis(range(1, len(whole) + 1)).fillna("")
