"""A finished run, opened once: its options, its results, and its tables and weights on demand."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.digest import hash_file
from samcache.cache.files.regular_file import check_regular, read_regular
from samcache.cache.files.typed_json import check_plain, parse_json
from samcache.cache.format.identity import Identity
from samcache.cache.format.pixel_options import PixelOptions
from samcache.cache.objects.base import LARGEST_RECORD
from samcache.cache.objects.place_kind import is_store
from samcache.train.data.prepare_inputs import MapShape
from samcache.train.model.classifier import Design
from samcache.train.runs.errors import name_file_in_errors, report_run_errors
from samcache.train.runs.folder import (
    CONFIG,
    METRICS,
    PREDICTIONS,
    RESULTS,
    SEEN,
    check_seal,
    is_run_folder,
)
from samcache.train.runs.records import check_config, check_results
from samcache.train.runs.tables import read_epochs, read_seen, read_tests
from samcache.train.runs.unsealed import check_unsealed
from samcache.train.runs.used_stores import UsedStore, read_used_stores
from samcache.train.tasks.splits import name_member
from samcache.train.tasks.targets.base import Target
from samcache.train.tasks.targets.choose import GRADED, read_target
from samcache.train.tasks.targets.classes import Classes

LARGEST_FILE = 1 << 34  # bytes; whoever reads a file reads all of it first, for its checksum


@dataclass(frozen=True)
class Run:
    """A finished run's folder, and the checked content of its config.json and results.json.

    Everything else is read when it is asked for, each file checked once against its checksum.
    Raises ConfigError where a file or an option is missing, or is not what train wrote.
    """

    folder: Path
    config: dict[str, Any]
    results: dict[str, Any]
    _checked: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def read_option(self, name: str) -> Any:
        """A value of config.json; runs of earlier versions lack some."""
        with report_run_errors(self.folder):
            return self.config[name]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs, in their order: classes, findings, grades, a number."""
        return tuple(self.read_option("classes"))

    @cached_property
    def target(self) -> Target:
        """What the run predicts; runs that name no kind predict classes."""
        with report_run_errors(self.folder):
            if "target" in self.config:
                return read_target(self.config["target"])
        return Classes(self.classes, bool(self.read_option("ordered")))

    @property
    def image_size(self) -> int:
        """Side of the classifier's images."""
        return int(self.read_option("image_size"))

    @cached_property
    def inputs(self) -> dict[str, MapShape]:
        """Level -> (C, h, w) of the pooled maps that a classifier is given."""
        return {level: tuple(shape) for level, shape in self.read_option("inputs").items()}

    @cached_property
    def identity(self) -> Identity:
        """Of the features that the run was trained on."""
        with report_run_errors(self.folder):
            return Identity.from_json(self.config["identity"])

    @cached_property
    def used_stores(self) -> tuple[UsedStore, ...]:
        """The stores that the run was trained from, in their order."""
        with report_run_errors(self.folder):
            return read_used_stores(self.config)

    @property
    def pixel_options(self) -> PixelOptions:
        """How the images were read that the features were made from."""
        with report_run_errors(self.folder):
            return PixelOptions.from_record(self.config) or PixelOptions()

    @property
    def design(self) -> Design:
        """How frozen maps act on the backbone."""
        names = ("taps", "reduction", "fusion", "join")
        taps, *others = (self.read_option(name) for name in names)
        return Design(taps or {}, *others)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names of the members that were trained on all training rows, over seeds and folds."""
        with report_run_errors(self.folder):
            return tuple(
                name_member(member["seed"], member["fold"], 1)
                for member in self.results["members"]
                if member["fraction"] == 1
            )

    @cached_property
    def tests(self) -> dict[float, pd.DataFrame]:
        """The test rows of predictions.csv by fraction, sorted by seed and id."""
        with report_run_errors(self.folder):
            return read_tests(self.find_file(PREDICTIONS), self.target)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """Every epoch of every member, from metrics.csv."""
        with report_run_errors(self.folder):
            return read_epochs(self.find_file(METRICS), self.target.selection)

    @cached_property
    def seen(self) -> set[str]:
        """SHA-256 of the images that a member has learned from or chosen its epoch by."""
        with report_run_errors(self.folder):
            return read_seen(self.find_file(SEEN))

    def find_weights(self, member: str) -> Path:
        """The file of a member's weights, unchecked."""
        return self.folder / f"{member}.safetensors"

    def find_file(self, name: str) -> Path:
        """A file's path; raises ValueError where the file is not what train wrote.

        Older runs record no checksums: their files are taken as they are.
        """
        path, recorded = self.folder / name, self.results.get("files", {})
        if name not in self._checked:
            check_regular(path, LARGEST_FILE)
            if name in recorded and hash_file(path) != recorded[name]:
                raise ValueError(f"{name} was changed since the run was finished")
            self._checked.add(name)
        return path

    def check_files(self) -> None:
        """Raise ConfigError where a file that is there is not what train wrote."""
        with report_run_errors(self.folder):
            for name in self.results.get("files", {}):
                if (self.folder / name).is_file():
                    self.find_file(name)


def open_run(folder: Path) -> Run:
    """Read and check config.json and results.json; raises ConfigError where no run is finished."""
    if not (folder / RESULTS).exists():
        raise ConfigError(f"{folder} holds no finished run: it has no {RESULTS}; {_advise(folder)}")
    with report_run_errors(folder):
        config, results = _read_object(folder / CONFIG), _read_object(folder / RESULTS)
        sealed = check_seal(results)
        if sealed is False:
            raise ValueError(f"{RESULTS} was changed since the run was finished")
        with name_file_in_errors(CONFIG):
            check_config(config)
        with name_file_in_errors(RESULTS):
            graded = config.get("target", {}).get("kind") in (None, *GRADED)
            check_results(results, len(config.get("classes", ())) if graded else None)
        if sealed is None:
            check_unsealed(folder, results)
        run = Run(folder, config, results)
        run.find_file(CONFIG)
        return run


def _advise(folder: Path) -> str:
    """What to give, or to do, where a folder holds no finished run."""
    if is_store(folder):
        return "it is a store: give a folder that samcache train wrote from it"
    if is_run_folder(folder):
        return "run the same samcache train command to finish it"
    return "give a folder that samcache train wrote"


def _read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; raises ValueError where it holds none, or what no run holds."""
    with name_file_in_errors(path.name):
        value = parse_json(read_regular(path, LARGEST_RECORD))
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
        check_plain(value)
    return value
