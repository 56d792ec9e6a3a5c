"""Part 3: the runs, by ``samcache train``, with the settings that were chosen.

Full training data first, in a run of every arm; then the smaller fractions, in a run of their own.
Beside each run folder lies NAME.json: its command, the machine, and when it was begun.
"""

import json
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from choosing import chosen
from experiment import CURVE, RUNS, Dataset, Experiment, samcache
from machine import machine

from samcache.train.config import TrainConfig, make_command
from samcache.train.runs.folder import RESULTS


def train_runs(
    experiment: Experiment,
    datasets: tuple[Dataset, ...],
    work: Path,
    names: tuple[str, ...] = RUNS,
) -> None:
    """Train what is not finished; ends the program where a run was begun with other options."""
    runs = sorted(product(datasets, names), key=lambda run: run[1].endswith(CURVE))
    for dataset, name in runs:
        train_once(configured(experiment, dataset, name, work), work)


def configured(experiment: Experiment, dataset: Dataset, name: str, work: Path) -> TrainConfig:
    """The run of an arm on the full training data, or of its fractions, as it was chosen."""
    arm = name.removesuffix(CURVE)
    candidate = chosen(experiment, dataset, arm, work)
    config = replace(experiment.setting(dataset, arm, candidate), seeds=experiment.seeds)
    if name == arm:
        return config
    return replace(config, out=config.out.with_name(name), fractions=experiment.fractions)


def note_of(run: Path) -> Path:
    """The file that says how a run was begun."""
    return run.with_name(f"{run.name}.json")


def train_once(config: TrainConfig, work: Path) -> None:
    """Train a run if it is not finished; ends the program where it was begun with other options."""
    run, command = work / config.out, shlex.join(make_command(config))
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
