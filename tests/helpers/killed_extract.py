"""Extract with the tiny encoder and kill this process at a chosen moment.

The moment counts the steps at which a store changes: before and after each object created,
replaced, removed or flushed. At that step the process sends itself SIGKILL; 0 lets it finish.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_encoder import SIDE

from samcache.cache.objects.folder import FolderObjects
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract


def killing(function: Callable[..., Any], steps: list[int]) -> Callable[..., Any]:
    """The function, with a step counted before and after it."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _step(steps)
        result = function(*args, **kwargs)
        _step(steps)
        return result

    return wrapped


def _step(steps: list[int]) -> None:
    steps[0] -= 1
    if steps[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def extract_until(source: str, store: str, checkpoint: str, moment: str) -> None:
    """Extract, and die at a moment."""
    remaining = [int(moment)]
    for name in ("create", "put", "delete", "_flush"):
        setattr(FolderObjects, name, killing(getattr(FolderObjects, name), remaining))
    extract(
        ExtractOptions(
            Path(source),
            store,
            "vit_tiny",
            Path(checkpoint),
            image_size=SIDE,
            pool=2,
            batch_size=4,
            shard_rows=8,
            device="cpu",
        )
    )


if __name__ == "__main__":
    extract_until(*sys.argv[1:])
