"""Checkpoints of a run: each member's state after its last saved epoch."""

import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from samcache.cache.errors import ConfigError, make_write_error
from samcache.cache.files.regular_file import IrregularFileError, check_regular, read_regular
from samcache.cache.files.typed_json import parse_json
from samcache.cache.files.whole_file import replace_file, write_json
from samcache.cache.memory import ran_out_of_memory
from samcache.cache.objects.base import LARGEST_RECORD

_RUN = "run.json"
_FORMAT = 2  # of a state: a run is not continued from another's
_SHARE = 0.01  # of the time, at most, goes into saving


class Checkpoints:
    """The checkpoints of one run, in a folder of the run's until the run is finished."""

    def __init__(self, folder: Path, run: Mapping[str, Any], overwrite: bool) -> None:
        """Open the checkpoints of an unfinished run, or begin new ones.

        run: everything that decides a number of the run, as JSON values. Raises ConfigError where
        the unfinished run in the folder was another one, unless it may be overwritten.
        """
        self._folder = folder
        self._next_save = 0.0  # seconds of the clock below
        expected = json.loads(json.dumps({**run, "checkpoints": _FORMAT}))
        found = _read_json(self._folder / _RUN)
        self.resumed = found == expected
        if not self.resumed:
            if found is not None and not overwrite:
                raise ConfigError(
                    f"{folder.parent} holds an unfinished run with other options "
                    f"({describe_differences(found, expected)}): give the same options to resume "
                    "it, give another folder, or overwrite it",
                    hint="out overwrite",
                )
            self.remove()
            self._folder.mkdir(parents=True)
            write_json(self._folder / _RUN, expected)

    def load(self, name: str) -> dict[str, Any] | None:
        """A member's state as it was saved, with tensors on the CPU; None where it has none."""
        path = self._find_path(name)
        if not path.exists():
            return None
        try:
            check_regular(path)
            with zipfile.ZipFile(path) as file:
                if file.testzip():  # torch writes checksums, and does not look at them
                    raise self._make_read_error(name)
            state: object = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in zip, pickle and torch alike
            if ran_out_of_memory(error):
                raise
            raise self._make_read_error(name) from None
        if not isinstance(state, dict):
            raise self._make_read_error(name)
        return state

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Raise ConfigError where a member's state turns out to be something else."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if ran_out_of_memory(error):
                raise
            raise self._make_read_error(name) from None

    def _make_read_error(self, name: str) -> ConfigError:
        return ConfigError(
            f"{self._find_path(name)} cannot be read: remove it to train its member again"
        )

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last save to afford another.

        A state has several times the model's size, so epochs of seconds are not saved one by one.
        """
        return time.monotonic() >= self._next_save

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Put a member's state in place of its last one; a kill leaves one of the two."""
        started = time.monotonic()
        path = self._find_path(name)
        with replace_file(path) as part:
            try:
                torch.save(dict(state), part)
            except RuntimeError as error:  # torch's own writer has an error of its own
                raise make_write_error(path, error) from None
        saved = time.monotonic()
        self._next_save = saved + (saved - started) * (1 / _SHARE - 1)

    def remove(self) -> None:
        """Remove all of them, once the run's results are written."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _find_path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"


def _read_json(path: Path) -> dict[str, Any] | None:
    """The run's description; None where there is none. Raises ConfigError where it is damaged."""
    try:
        found = parse_json(read_regular(path, LARGEST_RECORD))
    except FileNotFoundError:
        return None
    except (IrregularFileError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged: remove {path.parent} to train from the beginning")
    return found


def describe_differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The options in which two descriptions differ, and their values in each."""
    names = [k for k in expected.keys() | found.keys() if found.get(k) != expected.get(k)]
    lines = [f"{k} is {found.get(k)} there, {expected.get(k)} here" for k in sorted(names)]
    return "; ".join(lines)
