"""Which file is a manifest, and what a manifest should hold."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.files.text_table import SAVE_AS_CSV, SPREADSHEETS
from samcache.extract.sources.options import SourceOptions

_FILE_NAMES = (
    "filename", "file_name", "filepath", "file_path", "path", "image", "images", "img",
    "image_path", "image_file", "image_name", "image_id", "img_path", "imagepath", "imagename",
    "isic_id",
)  # fmt: skip
_LABEL_NAMES = (
    "labels", "classes", "target", "targets", "diagnosis", "dx", "category", "y", "class_name",
    "class_id", "label_name", "finding", "ground_truth", "gt", "outcome",
)  # fmt: skip


def choose_label(path: Path, columns: pd.Index, reading: SourceOptions) -> str:
    """The column of classes, "" for none; raises SourceError where none of several names fits.

    A manifest is without labels only where no column has a name that labels usually have.
    """
    if reading.no_labels:
        return ""
    if reading.label:
        return reading.label
    own = next((name for name in ("class", "label") if name in columns), "")
    plain = {name.strip().lower().replace(" ", "_") for name in columns}
    if not own and plain.intersection(("class", "label", *_LABEL_NAMES)):
        raise describe_missing_column(path, "class", columns, True)
    return own


def describe_missing_column(
    path: Path, name: str, columns: Iterable[str], is_label: bool
) -> SourceError:
    """The error of a manifest without a column, with the column that was probably meant.

    is_label: whether the user can name another column in its place.
    """
    usual = _LABEL_NAMES if is_label else _FILE_NAMES if name == "file" else ()
    alike = [each for each in columns if each.strip().lower() == name]
    meant = alike or [each for each in columns if each.strip().lower().replace(" ", "_") in usual]
    advice = ""
    if is_label:
        known = f": it is probably {meant[0]!r}" if meant else ""
        advice = f"; name the label column{known}, or read no labels"
    elif meant:
        advice = f"; rename the column {meant[0]!r} to {name!r}"
    return SourceError(
        f"{path} should have a column {name!r}, found {', '.join(columns)}{advice}",
        hint="label_column no_labels" if is_label else "",
    )


def refuse_spreadsheet(path: Path) -> None:
    """Raise SourceError for a file that a spreadsheet program keeps to itself."""
    if path.suffix.lower() in SPREADSHEETS and not path.is_dir():
        raise SourceError(f"{path} is a spreadsheet, which is not read: {SAVE_AS_CSV}")
