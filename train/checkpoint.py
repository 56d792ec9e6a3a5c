"""What lets a killed run go on: each member's state after its last saved epoch."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from samcache.cache.errors import ConfigError

FOLDER = "checkpoints"
_RUN = "run.json"
_SHARE = 0.01  # of the time, at most, goes into saving


class Checkpoints:
    """The checkpoints of one run, in ``checkpoints`` of its folder until the run is finished."""

    def __init__(self, run_folder: Path, run: Mapping[str, Any], overwrite: bool) -> None:
        """Open the checkpoints of an unfinished run, or begin anew.

        run: everything that decides a number of the run, as JSON values. Raises ConfigError where
        the unfinished run in the folder was another one, unless it may be overwritten.
        """
        self._folder = run_folder / FOLDER
        self._next_save = 0.0  # seconds of the clock below
        expected = json.loads(json.dumps(run))
        found = _read_json(self._folder / _RUN)
        self.resumed = found == expected
        if not self.resumed:
            if found is not None and not overwrite:
                raise ConfigError(
                    f"--out {run_folder} holds an unfinished run with other options "
                    f"({differences(found, expected)}): give the same to resume it, another "
                    "folder, or --overwrite"
                )
            self.remove()
            self._folder.mkdir(parents=True)
            (self._folder / _RUN).write_text(json.dumps(expected, indent=2) + "\n", "utf-8")

    def load(self, name: str) -> dict[str, Any] | None:
        """A member's state as it was saved, with tensors on the CPU; None where it has none."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in zip, pickle and torch alike
            raise ConfigError(
                f"{path} cannot be read: remove it, and its member starts anew"
            ) from error
        return state

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last save to afford another.

        A state has several times the model's size, so epochs of seconds are not saved one by one.
        """
        return time.monotonic() >= self._next_save

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Put a member's state in place of its last one; a kill leaves one of the two."""
        started = time.monotonic()
        path = self._path(name)
        unfinished = path.with_suffix(".new")
        torch.save(dict(state), unfinished)
        unfinished.replace(path)
        saved = time.monotonic()
        self._next_save = saved + (saved - started) * (1 / _SHARE - 1)

    def remove(self) -> None:
        """Remove all of them, once the run's results are written."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"


def _read_json(path: Path) -> dict[str, Any] | None:
    """The description of the run; None where there is none, or half of one."""
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """In which options two descriptions differ, and how."""
    names = [k for k in expected.keys() | found.keys() if found.get(k) != expected.get(k)]
    told = [f"{k} is {found.get(k)} there, {expected.get(k)} here" for k in sorted(names)]
    return "; ".join(told)
