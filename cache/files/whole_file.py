"""Write a file whole or not at all: under a temporary name, renamed when it is complete."""

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from samcache.cache.errors import make_write_error

PART = ".samcache-part-"  # how the names of unfinished files begin
_LONGEST_SUFFIX = 16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replace_file(path: Path, exclusive: bool = False) -> Iterator[Path]:
    """Yield the path of a new file in the same folder; its content gets the name ``path``.

    The new file has the suffix of ``path``. It is renamed at the end, when it is on the disk. Two
    writers cannot mix their content: the last one wins, with a whole file. An error or an
    interruption removes the new file and leaves the former one as it was. A link at ``path`` is
    replaced, not followed. A pipe or a device is yielded itself. exclusive: raise FileExistsError
    where ``path`` exists at the end. Raises WriteError where the disk is full or refuses.
    """
    if _is_special(path):
        with _report_write_errors(path):
            yield path
        return
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:12]}{path.suffix[:_LONGEST_SUFFIX]}")
    try:
        with _report_write_errors(path, part):
            mode = _create(part, path)
            yield part
            _flush(part, mode)
            _rename(part, path, exclusive)
    finally:
        with suppress(OSError):
            part.unlink()


def write_file(path: Path, content: str | bytes | memoryview) -> None:
    """Put a file of this content in the place of another, as ``replace_file`` does; text in UTF-8.

    Characters that UTF-8 cannot encode become "?".
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with replace_file(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write a value as ``write_file`` writes a text; raises ValueError for NaN and infinity."""
    write_file(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def remove_parts(folder: Path) -> None:
    """Remove the unfinished files of killed writers; only while no other process writes."""
    for part in folder.glob(f"{PART}*"):
        part.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """Whether the path is a pipe, a device or a folder, which is not replaced."""
    with _report_write_errors(path):
        return path.exists() and not path.is_file()


def _create(part: Path, path: Path) -> int:
    """Make the file, and its folder; return its permissions, those of a former file if any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.lstat()  # a name that is too long is refused before any work
    if path.is_file() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    former = path if path.is_file() and not path.is_symlink() else part
    return former.stat().st_mode & 0o777


def _flush(part: Path, mode: int) -> None:
    """Bring a file to the disk; some libraries give theirs to the owner alone."""
    part.chmod(mode)
    with part.open("rb") as written:
        os.fsync(written.fileno())


def _rename(part: Path, path: Path, exclusive: bool) -> None:
    if exclusive:
        _link(part, path)
    else:
        part.replace(path)
    with suppress(OSError):  # not every file system stores a folder
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _link(part: Path, path: Path) -> None:
    """Give a file a name that no other file has; raises FileExistsError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists") from None
        part.rename(path)


@contextmanager
def _report_write_errors(path: Path, part: Path | None = None) -> Iterator[None]:
    """Turn the errors of writing this file into a WriteError; others pass, as those of reading."""
    try:
        yield
    except OSError as error:
        own = {str(name) for name in (path, *path.parents, part)}
        if str(error.filename) in own or error.errno in _FULL:
            raise make_write_error(path, error) from error
        raise
