"""The folder that a manifest's file names start from, where the one at hand does not fit."""

import os
from collections.abc import Iterator
from pathlib import Path

from samcache.cache.progress import Remark

_TRIED = 20  # names of a manifest
_MOST_FOLDERS = 200  # that are tried


def describe_wrong_root(root: Path, names: list[str]) -> tuple[Remark, ...]:
    """A remark with the place where samcache looked for files, and a folder that has them.

    root: resolved. names: paths below the root; no remark where one of the first exists.
    """
    tried = names[:_TRIED]
    if any(os.path.lexists(root / name) for name in tried):
        return ()
    head = f"no file at {root / tried[0]}, nor at the next names of the manifest: "
    candidates = (
        folder
        for folder in _list_candidates(root)
        if os.path.isfile(folder / tried[0])  # noqa: PTH113 - is_file raises in a locked folder
    )
    fitting = next(candidates, None)
    if fitting is None:
        return (Remark(head + "give the folder that the names start from", "root"),)
    return (Remark(head + f"the folder {fitting} has such a file", "root"),)


def _list_candidates(root: Path) -> Iterator[Path]:
    """The root, its parent, and the folders in both; unreadable folders are left out."""
    for place in (root, root.parent):
        yield place
        try:
            with os.scandir(place) as entries:
                folders = sorted(Path(one) for one in entries if one.is_dir(follow_symlinks=False))
        except OSError:
            continue
        yield from folders[:_MOST_FOLDERS]
