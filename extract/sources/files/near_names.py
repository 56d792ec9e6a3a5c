"""Files that are not there, and the names beside them that were probably meant."""

import os
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

_FOLDERS = 64  # whose names are kept


def suggest_name(root: Path, name: str) -> str:
    """The question that names a near match of a path below ``root``; "" where there is none.

    A near match is a file whose path differs in Unicode form, in letter case or in its suffix
    alone. Folders outside the root are not searched.
    """
    folder, differs = root, ""
    parts = PurePosixPath(name).parts
    for place, part in enumerate(parts):
        found, how = part, ""
        if not os.path.lexists(folder / part):
            found, how = _find_near(folder, part, place == len(parts) - 1, root)
        if not found:
            return ""
        folder, differs = folder / found, differs or how
    if not differs or not folder.is_file():
        return ""
    return f"did you mean {folder.relative_to(root).as_posix()!r}, {differs}?"


@dataclass(frozen=True)
class _Names:
    """The names in a folder, by what they have in common with near matches."""

    by_form: dict[str, str]
    by_case: dict[str, str]
    by_stem: dict[str, str]


def _find_near(folder: Path, name: str, is_file: bool, root: Path) -> tuple[str, str]:
    """The nearest name in a folder, and how it differs; both empty where none is near."""
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        return "", ""
    try:
        names = _names(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return "", ""
    if found := names.by_form.get(_compose(name)):
        return found, "the same letters in another Unicode form"
    if found := names.by_case.get(_fold_case(name)):
        return found, "in another letter case"
    stems = (
        (_strip_suffix(name), _fold_case(name)) if is_file else ()
    )  # with another suffix, and without one
    found = next((names.by_stem[stem] for stem in stems if stem in names.by_stem), "")
    return found, "with another suffix"


@lru_cache(_FOLDERS)
def _names(folder: str, changed: int) -> _Names:  # noqa: ARG001
    with os.scandir(folder) as entries:
        names = sorted((entry.name for entry in entries), reverse=True)  # the first of equals stays
    return _Names(
        {_compose(name): name for name in names},
        {_fold_case(name): name for name in names},
        {_strip_suffix(name): name for name in names},
    )


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", _compose(name).casefold())


def _strip_suffix(name: str) -> str:
    return PurePosixPath(_fold_case(name)).stem
