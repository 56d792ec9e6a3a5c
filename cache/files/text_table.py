"""Tables that people write: CSV in the encodings and delimiters that are certain, and Parquet."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.files.failed_download import describe_failed_download
from samcache.cache.files.parquet import read_parquet

SUFFIXES = (".csv", ".tsv", ".parquet")
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers")

_DELIMITERS = ",;\t|"
_HEAD = 1 << 16  # characters in which a header is looked for
SAVE_AS_CSV = "save it as CSV (in Excel: CSV UTF-8)"
_MARKS = (  # the longer first: UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_OTHER_FILES = (
    (b"PK\x03\x04", f"is a spreadsheet or another ZIP file, not CSV: {SAVE_AS_CSV}"),
    (b"\xd0\xcf\x11\xe0", f"is a spreadsheet (.xls), not CSV: {SAVE_AS_CSV}"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"PAR1", "is a Parquet file: rename it to .parquet"),
)


def read_table(path: Path) -> pd.DataFrame:
    """A table's columns as text, "" where there is none; the index is each row's line.

    CSV may be in UTF-8 or UTF-16 and have commas, semicolons, tabs or bars between its fields.
    Raises SourceError.
    """
    try:
        if path.stat().st_size and (cause := describe_failed_download(path)):
            raise SourceError(f"{path} {cause}")
        return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None


def number_lines(column: pd.Series) -> Iterator[tuple[int, str]]:
    """The line of each value of a table's column, and the value."""
    return zip(column.index.tolist(), column.tolist(), strict=True)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = read_parquet(path)
    except ImportError:
        raise SourceError(
            f"{path}: a Parquet table needs pyarrow: pip install 'samcache[parquet]', or save "
            "it as CSV"
        ) from None
    except (ValueError, OSError):
        raise SourceError(
            f"{path} is not a readable Parquet table: it is cut short, damaged or another kind "
            "of file: write it again"
        ) from None
    return table.set_axis(range(2, len(table) + 2))


def _read_csv(path: Path) -> pd.DataFrame:
    text = _decode_text(path, path.read_bytes())
    delimiter, skipped = _find_delimiter(text)
    found = _csv_rows(path, text, delimiter, skipped)
    _, header = next(found, (1, []))
    rows = dict(found)
    if not header:
        raise SourceError(f"{path} is not a readable CSV table: it is empty")
    _refuse_twice(path, header)
    for line, row in rows.items():
        if len(row) > len(header):
            raise SourceError(
                f"{path}, line {line} has more fields than the header ({len(row)}, not "
                f"{len(header)}): name every column, and quote text that has {delimiter!r} in it"
            )
        row.extend([""] * (len(header) - len(row)))
    return pd.DataFrame(list(rows.values()), columns=header, index=list(rows), dtype=str)


def _decode_text(path: Path, data: bytes) -> str:
    """A file's text, by its byte order mark or as UTF-8; raises SourceError for other encodings.

    Bytes of Latin-1 and its kin are not guessed: each would decode, and a name be another one.
    """
    for begin, cause in _OTHER_FILES:
        if data.startswith(begin):
            raise SourceError(f"{path} {cause}")
    encoding, start = _encoding(data)
    try:
        text = data[start:].decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise SourceError(
                f"{path} is not {encoding.upper()} to its end, as it begins: save it as UTF-8"
            ) from None
        line = data.count(b"\n", 0, start + error.start) + 1
        byte = data[start + error.start]
        raise SourceError(
            f"{path}, line {line} is not UTF-8 (byte 0x{byte:02x}) but another encoding, such as "
            "Latin-1 or Windows-1252: save it as UTF-8 (in Excel: CSV UTF-8; or iconv -f "
            "WINDOWS-1252 -t UTF-8)"
        ) from None
    if "\0" in text.partition("\n")[0]:
        raise SourceError(f"{path} is not text: it should be CSV in UTF-8")
    return text


def _encoding(data: bytes) -> tuple[str, int]:
    """The encoding of a CSV file, and how many bytes tell it."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, len(mark)
    head = data[:4]  # of a header in UTF-16, every other byte is zero
    if len(head) == 4 and head[1::2] == b"\0\0" and b"\0" not in head[::2]:
        return "utf-16-le", 0
    if len(head) == 4 and head[::2] == b"\0\0" and b"\0" not in head[1::2]:
        return "utf-16-be", 0
    return "utf-8", 0


def _find_delimiter(text: str) -> tuple[str, int]:
    """What stands between fields, and how many lines say so and nothing else.

    It is the one that gives the header a column ``file``, or else the most columns; a comma where
    several do.
    """
    lines = re.split(r"\r\n|\r|\n", text[:_HEAD])
    if said := re.fullmatch("sep=(.)", lines[0]):  # as Excel writes
        return said[1], 1
    header = next((line for line in lines if line.strip()), "")

    def fit(delimiter: str) -> tuple[bool, int]:
        names = next(csv.reader([header], delimiter=delimiter), [])
        return "file" in [name.strip().lower() for name in names], len(names)

    return max(_DELIMITERS, key=fit), 0


def _csv_rows(
    path: Path, text: str, delimiter: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line that it begins in."""
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        lines.readline()
    # strict, else a quote left open takes all that follows
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1 + skipped
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise SourceError(
                f"{path} is not a readable CSV table: the quotes of the row that begins in line "
                f"{line} do not match: quote whole fields, and double the quotes within"
            ) from None
        if len(row) > 1 or "".join(row).strip():
            yield line, row
        line = reader.line_num + 1 + skipped


def _refuse_twice(path: Path, header: list[str]) -> None:
    for name in header:
        if name and header.count(name) > 1:
            raise SourceError(f"{path} has several columns {name!r}: keep one of them")
