"""The errors of a sweep's database, each as one line."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samcache.cache.errors import ConfigError, SamcacheError, WriteError, read_first_line

_FULL = ("disk is full", "No space left")
_BUSY = ("locked", "readonly", "unable to open", "disk I/O")


@contextmanager
def report_database_errors(path: Path) -> Iterator[None]:
    """Raise ConfigError, or WriteError on a full disk, for every error of Optuna with a file.

    A damaged database fails in sqlite, SQLAlchemy, JSON and Optuna alike, so that every error that
    is not this program's own is one of the file's.
    """
    try:
        yield
    except (SamcacheError, MemoryError):
        raise
    except Exception as error:
        causes = list(_list_causes(error))
        text = " ".join(map(str, causes))
        if any(words in text for words in _FULL):
            raise WriteError(
                f"{path} cannot be written (no space left on the disk): free some space, and run "
                "the same command again"
            ) from None
        cause = next((c for c in causes if isinstance(c, sqlite3.Error)), causes[-1])
        advice = "it is damaged: restore it from a copy, or start the sweep in another folder"
        if any(words in text for words in _BUSY):
            advice = "wait for other processes to finish, and check that you may write there"
        raise ConfigError(f"{path} cannot be used ({read_first_line(cause)}): {advice}") from None


def _list_causes(error: BaseException | None) -> Iterator[Exception]:
    """An error, and what led to it."""
    while isinstance(error, Exception):
        yield error
        error = error.__cause__ or error.__context__
