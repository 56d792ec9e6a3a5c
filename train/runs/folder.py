"""The folder of a run: its file names, its lock, and files that are written whole."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samcache.cache.errors import ConfigError
from samcache.cache.format.records import compute_checksum, encode_canonical
from samcache.cache.objects.place_kind import is_run

RESULTS = "results.json"  # written last
CONFIG, METRICS, PREDICTIONS, SEEN = "config.json", "metrics.csv", "predictions.csv", "seen.csv"
CHECKPOINTS = "checkpoints"
CHECKSUM = "checksum"  # of results.json: XXH3 over its encode_canonical JSON without this
_MEMBER = r"seed-\d+(-fold-\d+)?(-fraction-[\d.e-]+)?"
_WEIGHTS = re.compile(rf"{_MEMBER}\.safetensors")
_EXPORTS = re.compile(
    rf"(ensemble|{_MEMBER})(-with-encoder)?\.(pt2|onnx)(\.json)?"
)  # written here unasked


def open_run_folder(folder: Path, overwrite: bool) -> None:
    """Make the run folder before any work; raises ConfigError where it is taken."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a folder", hint="out")
    if folder.is_dir() and any(folder.iterdir()) and not is_run_folder(folder):
        raise ConfigError(f"{folder} holds other files: give an empty or new folder", hint="out")
    if (folder / RESULTS).exists() and not overwrite:
        raise ConfigError(
            f"{folder} holds a finished run: give another folder, or overwrite the run",
            hint="out overwrite",
        )
    refuse_links(folder)
    folder.mkdir(parents=True, exist_ok=True)


def refuse_links(folder: Path) -> None:
    """Raise ConfigError where a folder holds a symbolic link, at any depth.

    What is overwritten or removed in a run's folder is then inside the folder. The folder itself
    may be a link.
    """
    for place, folders, files in os.walk(folder):  # enters no links
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                raise ConfigError(
                    f"{path} is a symbolic link: nothing is written through links inside a run "
                    "folder; remove the link, or give another folder",
                    hint="out",
                )


def is_run_folder(folder: Path) -> bool:
    """Whether train has written into a folder."""
    return (folder / CHECKPOINTS).is_dir() or is_run(folder)


def refuse_file_of_a_run(path: Path) -> None:
    """Raise ConfigError where a file that is to be written is one that a run consists of."""
    parts = {RESULTS, CONFIG, METRICS, PREDICTIONS, SEEN}
    own = path.name in parts or _WEIGHTS.fullmatch(path.name)
    if own and is_run_folder(path.parent):
        raise ConfigError(
            f"{path} is a part of the run in {path.parent}: give another name", hint="out"
        )


def refuse_run_folder(folder: Path) -> None:
    """Raise ConfigError where a folder for an evaluation's files is a run's."""
    if is_run_folder(folder):
        raise ConfigError(
            f"{folder} holds a run, whose {PREDICTIONS} would be replaced: give another folder",
            hint="out",
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other writers out of a run folder; raises ConfigError where another one has the lock.

    The system releases the lock when the process ends, however it ends. On a file system without
    locks every writer is let in.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another command is writing to {folder}: wait, or give another folder", hint="out"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def seal_results(content: dict[str, Any]) -> dict[str, Any]:
    """Add the checksum that ``check_seal`` compares to the content of results.json."""
    return {
        **content,
        CHECKSUM: compute_checksum(encode_canonical(json.loads(json.dumps(content)))),
    }


def check_seal(content: dict[str, Any]) -> bool | None:
    """Whether the content of results.json fits its checksum; None where it has none."""
    if CHECKSUM not in content:
        return None
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    return bool(content[CHECKSUM] == compute_checksum(encode_canonical(rest)))


def list_member_files(folder: Path) -> set[str]:
    """The names of the files of weights in a run folder."""
    return {path.name for path in folder.iterdir() if _WEIGHTS.fullmatch(path.name)}


def remove_former(folder: Path, weights: set[str]) -> None:
    """Remove weights and exported programs of a former run; these weights stay."""
    names = {path.name for path in folder.iterdir()}
    for name in names - weights:
        if _WEIGHTS.fullmatch(name) or _EXPORTS.fullmatch(name):
            (folder / name).unlink()
