"""The commands that make a run and its report again."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from samcache.train.config import DEFAULT_TAPS, TrainConfig
from samcache.train.report.facts import Facts

_OF_THE_PLACE = ("store", "out", "overwrite", "residency", "tensorboard", "device")
_VIEWS = {1: "identity", 4: "flips", 8: "dihedral"}  # by how many are cached


def commands(facts: Facts, out: Path) -> list[str]:
    """Extraction (its source is not recorded: SOURCE), every training, the report.

    Stores and runs have the names that train was given: one folder for all commands.
    """
    report = ["samcache", "report", *(run.config["out"] for run in facts.runs)]
    if facts.baseline is not None:
        report += ["--baseline", facts.baseline.config["out"]]
    report += ["--out", str(out)]
    return [
        "samcache extract SOURCE " + shlex.join(_extract_options(facts.run.config)),
        *(shlex.join(train_command(run.config)) for run in facts.runs),
        shlex.join(report),
    ]


def train_command(config: dict[str, Any]) -> list[str]:
    """The words of the command that a run's config.json resolves, defaults left out."""
    words = ["samcache", "train", config["store"], "--out", config["out"]]
    for field in fields(TrainConfig):
        value = config.get(field.name)
        default = _default_taps(config) if field.name == "taps" else field.default
        if field.name in _OF_THE_PLACE or value in (None, {}) or _plain(value) == default:
            continue
        option = f"--{field.name.replace('_', '-')}"
        if field.name == "augment":
            words.append("--no-augment")
        elif value is True:
            words.append(option)
        else:
            words += [option, _text(value)]
    return words


def _default_taps(config: dict[str, Any]) -> dict[str, str]:
    levels = config["identity"]["levels"]
    return {level: stage for level, stage in DEFAULT_TAPS.items() if level in levels}


def _plain(value: Any) -> Any:
    """A value of JSON as TrainConfig has it."""
    return tuple(value) if isinstance(value, list) else value


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{level}:{stage}" for level, stage in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _extract_options(config: dict[str, Any]) -> list[str]:
    """The options of ``samcache extract`` that make a store of the same identity."""
    identity = config["identity"]
    options = {
        "--store": config["store"],
        "--encoder": identity["encoder"],
        "--image-size": identity["image_size"],
        "--frame-size": identity["frame_size"],
        "--levels": ",".join(identity["levels"]),
        "--pool": identity["pool"],
        "--precision": identity["precision"],
        "--preprocessing": identity["preprocessing"],
        "--dtype": identity["dtype"],
        "--views": _VIEWS[len(identity["views"])],
    }
    if identity["window"] != "auto":  # the least and the greatest value shown
        low, high = map(float, identity["window"].split(","))
        options["--window"] = f"{(low + high) / 2:g},{high - low:g}"
    return [str(word) for pair in options.items() for word in pair]
