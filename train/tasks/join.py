"""Match a store's samples with the rows of a table: exactly, with counts of what was found."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.text import count_nouns, list_first
from samcache.train.tasks.label_table import LabelTable

_SUFFIX = re.compile(r"\.(nii\.gz|[A-Za-z][A-Za-z0-9]{1,4})$")  # numbers of a UID are none
_SHOWN = 3
_COLUMNS = {"id": "id", "case": "group", "sha256": "sha256"}  # of a store's samples

Form = Callable[[str], str]


@dataclass(frozen=True)
class Join:
    """Which row of a table each of n samples has.

    rows: (n,) int64, a place in the table, -1 for none. how: how names were compared, for people.
    repeated: rows that say again what another says. unused: rows that name no sample.
    """

    table: LabelTable
    rows: npt.NDArray[np.integer]
    how: str
    repeated: int
    unused: int

    @property
    def matched(self) -> int:
        """Samples with a row."""
        return int((self.rows >= 0).sum())

    def take(self, column: str, hint: str) -> pd.Series:
        """A column's value of each sample, "" for one without a row; raises ConfigError."""
        values = self.table.find_column(column, hint).to_numpy(dtype=object)
        found = np.where(self.rows >= 0, values[self.rows], "")
        return pd.Series(found, dtype=object, name=column)

    def describe(self) -> str:
        """The join in numbers, on one line."""
        total = len(self.rows)
        parts = [f"{self.matched} of {count_nouns(total, 'image')} matched by {self.how}"]
        if total > self.matched:
            parts.append(f"{total - self.matched} without a row")
        if self.unused:
            parts.append(f"{count_nouns(self.unused, 'row')} of other images")
        if self.repeated:
            parts.append(f"{count_nouns(self.repeated, 'repeated row')} that agree")
        return ", ".join(parts)


def join_samples(samples: pd.DataFrame, table: LabelTable, used: tuple[str, ...]) -> Join:
    """Match samples with rows by the table's key; used: the columns that will be taken.

    samples: n samples with the columns id, group and sha256. Ids are compared as they are, or
    without suffix or folder where more of them match so and none becomes ambiguous. Raises
    ConfigError where nothing matches, where two samples get one name, and where rows of a sample
    disagree in a used column.
    """
    own = samples[_COLUMNS[table.by]].astype(str)
    how, form = f"{table.by} (column {table.key!r})", _FORMS[""]
    if table.by == "id":
        name, form = _choose_form(own, table.keys)
        how = f"id (column {table.key!r}{name})"
    ours, theirs = own.map(form), table.keys.map(form)
    named = ours[ours.isin(set(theirs)) & (ours != "")]
    if named.empty:
        raise _refuse_empty(samples, own, table)
    if table.by == "id":
        _refuse_ambiguous(own, named, table)
    here = theirs.isin(set(named)).to_numpy()
    first = _find_first_rows(theirs[here], table, used)
    rows = ours.map(pd.Series(np.flatnonzero(here)[first], theirs[here].iloc[first]))
    rows = rows.where(ours != "").fillna(-1)
    repeated = int(here.sum()) - len(first)
    return Join(table, rows.to_numpy(dtype=np.int64), how, repeated, int((~here).sum()))


def _keep(name: str) -> str:
    return name


def _drop_suffix(name: str) -> str:
    return _SUFFIX.sub("", name)


def _drop_folder(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _drop_both(name: str) -> str:
    return _drop_suffix(_drop_folder(name))


_FORMS: dict[str, Form] = {
    "": _keep,
    ", without suffix": _drop_suffix,
    ", without folder": _drop_folder,
    ", without folder and suffix": _drop_both,
}


def _choose_form(ours: pd.Series, theirs: pd.Series) -> tuple[str, Form]:
    """The form under which most samples have a row of their own; of equal ones the least change."""

    def count(form: Form) -> tuple[int, int]:
        own = ours.map(form)
        matched = own.isin(set(theirs.map(form)))
        return int((matched & ~own.duplicated(keep=False)).sum()), int(matched.sum())

    counts = {name: count(form) for name, form in _FORMS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best, _FORMS[best]


def _refuse_empty(samples: pd.DataFrame, own: pd.Series, table: LabelTable) -> ConfigError:
    if (own == "").all():
        return ConfigError(
            f"{table.path} names images by {table.by} (column {table.key!r}), and the store knows "
            f"no {table.by} of its {count_nouns(len(samples), 'image')}: use another key",
            hint="key",
        )
    mine = list_first([*map(repr, own[own != ""].unique()[:_SHOWN])])
    theirs = list_first([*map(repr, table.keys.unique()[:_SHOWN])])
    return ConfigError(
        f"no row of {table.path} names an image of the store by {table.by}: column {table.key!r} "
        f"begins {theirs}, the store {mine}: use another key",
        hint="key",
    )


def _refuse_ambiguous(own: pd.Series, named: pd.Series, table: LabelTable) -> None:
    """Raise ConfigError where two samples get one name."""
    twice = named[named.duplicated(keep=False)]
    if len(twice):
        both = own[twice.index[twice == twice.iloc[0]]]
        raise ConfigError(
            f"{twice.iloc[0]!r} of {table.path} could be {both.iloc[0]!r} or {both.iloc[1]!r} of "
            "the store: give ids as the store has them, or a key",
            hint="key",
        )


def _find_first_rows(
    theirs: pd.Series, table: LabelTable, used: tuple[str, ...]
) -> npt.NDArray[np.integer]:
    """The place of each name's first row; raises ConfigError where rows of a name disagree."""
    twice = theirs[theirs.duplicated(keep=False)]
    said = table.columns.loc[twice.index, list(used)].assign(name=twice)
    odd = said.drop_duplicates()
    odd = odd[odd["name"].duplicated(keep=False)]
    if len(odd):
        name = odd["name"].iloc[0]
        lines = odd.index[odd["name"] == name][:2]
        column = next(c for c in used if odd.loc[lines[0], c] != odd.loc[lines[1], c])
        raise ConfigError(
            f"{table.path}, lines {lines[0]} and {lines[1]} disagree on {name!r}: {column} is "
            f"{odd.loc[lines[0], column]!r} and {odd.loc[lines[1], column]!r}: keep one row"
        )
    return np.flatnonzero(~theirs.duplicated().to_numpy())
