"""The folder that a manifest's file names start from, where the one at hand does not fit."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

_TRIED = 20  # names of a manifest
_MOST_FOLDERS = 200  # that are tried


def describe_wrong_root(root: Path, names: list[str]) -> tuple[str, ...]:
    """A line with the place where files were looked for, and a --root that fits.

    root: resolved. names: paths below it; no line where one of the first is there.
    """
    tried = names[:_TRIED]
    if any(os.path.lexists(root / name) for name in tried):
        return ()
    head = f"no file at {root / tried[0]}, nor at the next names of the manifest: "
    candidates = (
        folder
        for folder in _candidates(root)
        if os.path.isfile(folder / tried[0])  # noqa: PTH113 - is_file raises in a locked folder
    )
    fitting = next(candidates, None)
    if fitting is None:
        return (head + "give the folder that the names start from with --root",)
    return (head + f"--root {shlex.quote(str(fitting))} has such a file",)


def _candidates(root: Path) -> Iterator[Path]:
    """The folders in the root, above it, and beside it; those that cannot be read are left out."""
    for place in (root, root.parent):
        yield place
        try:
            with os.scandir(place) as entries:
                folders = sorted(Path(one) for one in entries if one.is_dir(follow_symlinks=False))
        except OSError:
            continue
        yield from folders[:_MOST_FOLDERS]
