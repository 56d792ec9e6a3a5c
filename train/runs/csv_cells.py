"""Text cells of CSV files, which spreadsheets must not take for formulas.

A cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end gets an apostrophe before
it, as OWASP advises ("CSV Injection"); numbers do not. Reading removes the apostrophe again.
"""

import re
from typing import TypeVar

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_Value = TypeVar("_Value")


def guard_cell(value: _Value) -> _Value | str:
    """A cell as CSV files hold it; what is no text stays as it is."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def read_cell(text: str) -> str:
    """The text that ``guard_cell`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def guard_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose text cells are as CSV files hold them."""
    texts = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(**{str(name): texts[name].map(guard_cell) for name in texts})
