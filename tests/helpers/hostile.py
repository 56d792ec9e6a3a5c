"""What an attacker writes into a record or puts in place of a file, and limits to read it under."""

import copy
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from samcache.cache.errors import SamcacheError

ABSENT = object()  # the field is removed

VALUES: dict[str, Any] = {
    "infinity": float("inf"),
    "not a number": float("nan"),
    "1e308": 1e308,
    "10**400": 10**400,
    "2**63": 2**63,
    "2**40": 2**40,
    "a thousand million": 10**9,
    "zero": 0,
    "minus one": -1,
    "minus 2**70": -(2**70),
    "half": 1.5,
    "true": True,
    "null": None,
    "digits": "7",
    "empty text": "",
    "half a character": "a\ud800b",
    "NUL": "a\0b",
    "elsewhere": "../../x",
    "a million letters": "x" * 1_000_000,
    "empty list": [],
    "empty object": {},
    "lists in lists": [[1, 2], [3]],
    "objects in objects": {"a": {"b": 1}},
    "20,000 names": [f"l{number}" for number in range(20_000)],
    "20,000 shapes": {f"l{number}": [1, 1, 1] for number in range(20_000)},
    "depth": reduce(lambda inner, _: [inner], range(300), 1),
    "absent": ABSENT,
}

CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "cut short": b'{"zarr_format": 3, "node_type": "gro',
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "10,000 digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "the same key twice": b'{"attributes": {}, "attributes": {"samcache": {}}}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "no text": bytes(range(256)) * 20,
}

_PYTHON = re.compile(
    r"Error\(|object is not|Expecting|unhashable|indices must|NoneType|codec can't|literal for"
    r"|argument must|cannot convert|recursion|no attribute|out of bounds|values to unpack|Exceeds"
    r"|truth value|subscriptable|positional argument|Traceback|unsupported|missing 1 required"
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a JSON value holds a value: of lists the first two items."""
    yield place
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*place, key))
    elif isinstance(value, list):
        for index in range(min(2, len(value))):
            yield from places(value[index], (*place, index))


def replaced(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A JSON value with another value, or none, in one place."""
    if not place:
        return {} if value is ABSENT else value
    changed = copy.deepcopy(content)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    if value is ABSENT:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return changed


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_huge(path: Path) -> None:
    """A file of 2**40 bytes that takes none of the disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


FILES: dict[str, Callable[[Path], Any]] = {
    "a named pipe": make_fifo,
    "/dev/zero": link_to_zeros,
    "a folder": Path.mkdir,
    "2**40 bytes": make_huge,
    **{
        f"content {name}": lambda path, data=data: path.write_bytes(data)  # type: ignore[misc]
        for name, data in CONTENTS.items()
    },
}


class TooSlowError(BaseException):
    """A reader waits, or counts to an absurd number."""


@contextmanager
def bounded(seconds: int = 10, memory: int = 2 << 30) -> Iterator[None]:
    """Fail what computes longer, waits six times as long, or allocates more bytes than this."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + memory

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        raise TooSlowError(f"{seconds} s")

    # a machine with other work makes a test wait, and not compute
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 6))
    former = [(number, signal.signal(number, stop)) for number, _, _ in timers]
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    for _, timer, times in timers:
        signal.setitimer(timer, seconds * times)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, handler in former:
            signal.signal(number, handler)


def read_or_refuse(read: Callable[[], object]) -> str:
    """What a reader refuses with, "" where it reads; fails for all but one line of ours."""
    try:
        with bounded():
            read()
    except SamcacheError as error:
        said = str(error)
        assert "\n" not in said
        assert not _PYTHON.search(said), said
        assert len(said) < 2000, said[:200]
        said.encode()  # a terminal can take it
        return said
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {str(error)[:200]}", pytrace=True)
    return ""
