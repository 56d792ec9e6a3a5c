"""Read only regular files: reading a pipe would wait, reading a device would never end."""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class IrregularFileError(OSError):
    """A file that is not a regular file; ``strerror`` names its kind."""

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def open_regular(path: str | Path) -> int:
    """A descriptor of a regular file, open for reading; raises OSError as ``open`` does.

    Raises IrregularFileError for a folder, a named pipe, a socket or a device, without opening it.
    """
    _check_kind(Path(path).stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)  # it may have been replaced meanwhile
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | Path, largest: int) -> bytes:
    """The bytes of a regular file; raises OSError as ``open_regular``.

    ValueError where there are more than ``largest``.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size, largest)
        return file.read(size)


def measure_regular(path: Path) -> int:
    """Bytes of a regular file; raises OSError as ``open_regular``."""
    found = path.stat()
    _check_kind(found.st_mode, path)
    return found.st_size


def check_regular(path: str | Path, largest: int | None = None) -> None:
    """Raise IrregularFileError where a file that a library will open is not a regular one.

    ValueError where it has more bytes than ``largest``; an absent file passes.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return
    _check_kind(found.st_mode, path)
    _check_size(found.st_size, largest)


def _check_kind(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise IrregularFileError(errno.EINVAL, f"is {kind}, not a regular file", str(path))


def _check_size(size: int, largest: int | None) -> None:
    if largest is not None and size > largest:
        raise ValueError(f"it has {size} bytes: expected at most {largest}")
