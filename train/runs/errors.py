"""The errors of a run's files, each as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samcache.cache.errors import ConfigError, StoreError, read_first_line
from samcache.cache.files.regular_file import IrregularFileError


@contextmanager
def name_file_in_errors(name: str) -> Iterator[None]:
    """Let a ValueError about the content of a file begin with the file's name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def report_run_errors(folder: Path) -> Iterator[None]:
    """Raise ConfigError, in one line, for everything that is wrong with a run's files."""
    try:
        yield
    except PermissionError as error:
        raise explain_no_access(error) from None
    except IrregularFileError as error:
        raise ConfigError(
            f"{error.filename} {error.strerror}: copy the run's own file there"
        ) from None
    except (OSError, ValueError, KeyError, StoreError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else read_first_line(error)
        raise ConfigError(f"{folder} cannot be read as a run ({what}): train it again") from None


def explain_no_access(error: PermissionError) -> ConfigError:
    """The error for a file that is there, and may be whole, but that this user must not read."""
    return ConfigError(
        f"{error.filename} cannot be read ({error.strerror}): ask its owner for read permission"
    )
