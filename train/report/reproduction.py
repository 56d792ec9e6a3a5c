"""The commands that make a run and its report again."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from samcache.train.config import (
    TrainConfig,
    choose_default_taps,
    make_command,
    name_option,
)
from samcache.train.report.facts import Facts
from samcache.train.runs.used_stores import UsedStore
from samcache.train.tasks.options import TaskOptions

_OF_THE_PLACE = ("store", "out", "overwrite", "residency", "tensorboard", "device")
_VIEWS = {1: "identity", 4: "flips", 8: "dihedral"}  # by how many are cached


def make_commands(facts: Facts, out: Path) -> list[str]:
    """Extraction of each store (its source is not recorded: SOURCE), every training, the report.

    Stores and runs have the names that train was given: one folder for all commands.
    """
    report = ["samcache", "report", *(run.config["out"] for run in facts.runs)]
    if facts.baseline is not None:
        report += [name_option("baseline"), facts.baseline.config["out"]]
    report += [name_option("out"), str(out)]
    stores = facts.run.run.used_stores
    return [
        *("samcache extract SOURCE " + shlex.join(_list_extract_options(s)) for s in stores),
        *(shlex.join(make_command(read_config(run.config))) for run in facts.runs),
        shlex.join(report),
    ]


def read_config(recorded: Mapping[str, Any]) -> TrainConfig:
    """The options that a run's config.json records, but for those of a machine or a moment.

    Taps that are the default of the store's levels are left to be chosen again.
    """
    names = {field.name for field in fields(TrainConfig)} - {*_OF_THE_PLACE, "task"}
    values = {name: _restore(recorded[name]) for name in names & recorded.keys()}
    if not values.get("taps") or values["taps"] == _restore(
        choose_default_taps(recorded["identity"]["levels"])
    ):
        values["taps"] = None
    task = _read_task(recorded)
    return TrainConfig(recorded["store"], Path(recorded["out"]), task=task, **values)


def _read_task(recorded: Mapping[str, Any]) -> TaskOptions:
    """The options of the question; tables are named as files, wherever they lay."""
    names = {field.name for field in fields(TaskOptions)}
    given = {k: _restore(v) for k, v in recorded.get("task", {}).items() if k in names}
    for name in ("labels", "splits"):
        if name in given:
            given[name] = Path(given[name])
    return TaskOptions(**given, ordered=bool(recorded.get("ordered")))


def _restore(value: Any) -> Any:
    """A value of JSON as TrainConfig has it."""
    if isinstance(value, dict):
        return tuple(f"{level}:{stage}" for level, stage in value.items())
    return tuple(value) if isinstance(value, list) else value


def _list_extract_options(used: UsedStore) -> list[str]:
    """The options of ``samcache extract`` that make a store of the same identity."""
    identity = asdict(used.identity)
    options = {
        "store": used.place["store"],
        "encoder": identity["encoder"],
        "image_size": identity["image_size"],
        "frame_size": identity["frame_size"],
        "levels": ",".join(identity["levels"]),
        "pool": identity["pool"],
        "precision": identity["precision"],
        "preprocessing": identity["preprocessing"],
        "dtype": identity["dtype"],
        "views": _VIEWS[len(identity["views"])],
    }
    if identity["window"] != "auto":  # the least and the greatest value shown
        low, high = map(float, identity["window"].split(","))
        options["window"] = f"{(low + high) / 2:g},{high - low:g}"
    return [word for name, value in options.items() for word in (name_option(name), str(value))]
