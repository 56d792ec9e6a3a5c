"""Paths that this user may not use, also where tests run as root, to whom nothing is refused."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def lock(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the system refuse whatever is asked of a path and of all below it."""
    for name in ("stat", "open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name), str(path), name == "stat"))


def _refusing(ask: Callable[..., Any], locked: str, below: bool) -> Callable[..., Any]:
    """below: a locked folder's own entry can still be looked at."""

    def refuse(path: Any = ".", *rest: Any, **options: Any) -> Any:
        asked = str(Path.cwd() / path) if isinstance(path, str | Path) else ""
        if asked.startswith(f"{locked}/") or (asked == locked and not below):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), asked)
        return ask(path, *rest, **options)

    return refuse
