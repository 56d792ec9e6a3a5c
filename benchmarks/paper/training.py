"""Part 3: the runs, by ``samcache train``, with the settings that were chosen.

Full training data first, in a run of every arm; then the smaller fractions, in a run of their own.
Beside each run folder lies NAME.json: its command, the machine, and when it was begun.
"""

import json
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from choosing import chosen
from experiment import ARMS, CURVES, Dataset, Experiment, samcache
from machine import machine

from samcache.train.config import TrainConfig
from samcache.train.outputs import RESULTS

CURVE = "-curve"  # behind the arm: the run of its fractions


def train_runs(experiment: Experiment, datasets: tuple[Dataset, ...], work: Path) -> None:
    """Train what is not finished; ends the program where a run was begun with other options."""
    for runs in (full_runs, curve_runs):
        for dataset in datasets:
            for config in runs(experiment, dataset, work):
                _train(config, work)


def full_runs(experiment: Experiment, dataset: Dataset, work: Path) -> list[TrainConfig]:
    """The runs of all arms on the full training data."""
    return [_setting(experiment, dataset, arm, work) for arm in ARMS]


def curve_runs(experiment: Experiment, dataset: Dataset, work: Path) -> list[TrainConfig]:
    """The runs of the smaller fractions; the full training data is that of ``full_runs``."""
    return [
        replace(
            config,
            out=config.out.with_name(config.out.name + CURVE),
            fractions=experiment.fractions,
        )
        for config in (_setting(experiment, dataset, arm, work) for arm in CURVES)
    ]


def _setting(experiment: Experiment, dataset: Dataset, arm: str, work: Path) -> TrainConfig:
    candidate = chosen(experiment, dataset, arm, work)
    return replace(experiment.setting(dataset, arm, candidate), seeds=experiment.seeds)


def note_of(run: Path) -> Path:
    """The file that says how a run was begun."""
    return run.with_name(f"{run.name}.json")


def _train(config: TrainConfig, work: Path) -> None:
    run, command = work / config.out, config.command()
    note = note_of(run)
    if note.exists():
        begun = json.loads(note.read_text("utf-8"))["command"]
        if begun != command:
            sys.exit(
                f"{run} was begun with other options than are chosen now; remove it and "
                f"{note.name} to train it anew. Then: {begun} Now: {command}"
            )
    elif run.exists():
        sys.exit(f"{run} has no {note.name} that says how it was trained: remove it")
    else:
        note.parent.mkdir(parents=True, exist_ok=True)
        told = {"command": command, "begun": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
        note.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if not (run / RESULTS).exists():
        samcache(shlex.split(command)[1:], work)
