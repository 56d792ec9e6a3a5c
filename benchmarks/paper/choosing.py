"""Part 2: every candidate's score by cross-validation over the rows that are not test.

Test rows are no part of any member: nothing is learned from them, and nothing is said of them.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiment import Dataset, Experiment, missing_images, options

from samcache.cache.progress import ignore_remark
from samcache.cache.store import Store
from samcache.commands.options import Device
from samcache.train.config import TrainConfig
from samcache.train.data.load import load_where_it_fits
from samcache.train.data.scaling import scale_inputs
from samcache.train.fit.precision import resolve_precision
from samcache.train.fit.training import train_member
from samcache.train.run import plan_inputs
from samcache.train.scores.metrics import compute_accuracy, compute_macro_auc
from samcache.train.tasks.options import STORE_LABELS
from samcache.train.tasks.question import Question, ask
from samcache.train.tasks.splits import Member, plan_members
from samcache.train.tasks.trainings import Trainings

CHOICES = "choices.csv"
COLUMNS = ("dataset", "arm", "candidate", "options", "fold", "auc", "accuracy", "seconds")
SEED = 0


def score_candidates(experiment: Experiment, dataset: Dataset, work: Path) -> None:
    """Score every candidate on every fold, and append each score as soon as it is there."""
    place = work / f"{dataset.name}.zarr"
    if missing_images(place) != 0:
        sys.exit(f"{place} is not there, or lacks images: run the part extract first")
    store = Store(place)
    members = untested_members(store, experiment.folds)
    for arm, candidates in experiment.candidates.items():
        for name in candidates:
            setting = experiment.setting(dataset, arm, name)
            known = set(scores(work, dataset, arm, name, options(setting))["fold"])
            missing = [member for member in members if member.fold not in known]
            if missing:
                _score(setting, store, missing, [dataset.name, arm, name], work)


def scores(work: Path, dataset: Dataset, arm: str, candidate: str, how: str) -> pd.DataFrame:
    """The folds that a candidate was scored on, with exactly these options."""
    path = work / CHOICES
    table = pd.DataFrame(columns=list(COLUMNS))
    if path.exists():
        table = pd.read_csv(path, keep_default_na=False)  # the defaults are "", not missing
    wanted = {"dataset": dataset.name, "arm": arm, "candidate": candidate}
    same = (table[list(wanted)] == list(wanted.values())).all(axis=1)
    return table[same & (table["options"].map(_sort_options) == _sort_options(how))]


def _sort_options(line: str) -> str:
    """The options of a command line by name, since their order says nothing."""
    return " --".join(sorted(f" {line}".split(" --")))


def chosen(experiment: Experiment, dataset: Dataset, arm: str, work: Path) -> str:
    """The candidate with the best mean AUC over the folds; the first of equal ones.

    A control's is SLCA's. Ends the program where a candidate is not scored on every fold.
    """
    tuned = arm if arm in experiment.candidates else "slca"
    means = {}
    for name in experiment.candidates[tuned]:
        how = options(experiment.setting(dataset, tuned, name))
        folds = scores(work, dataset, tuned, name, how)
        if len(folds) < experiment.folds:
            sys.exit(
                f"{dataset.name}, {tuned}: candidate {name} is scored on {len(folds)} of "
                f"{experiment.folds} folds: run the part choose first"
            )
        means[name] = folds["auc"].mean()
    return max(means, key=means.__getitem__)


def untested_members(store: Store, folds: int) -> list[Member]:
    """Cross-validation over train and val rows; ``test`` of a member is its held-out fold."""
    question = ask(store, STORE_LABELS).select_readable()
    samples = question.samples
    places = np.flatnonzero((samples["split"] != "test").to_numpy())
    untested = samples.iloc[places].reset_index(drop=True)
    rows = torch.from_numpy(places)
    return [
        replace(m, train=rows[m.train], val=rows[m.val], test=rows[m.test])
        for m in plan_members(Question.of_classes(untested, question.classes), (SEED,), folds)
    ]


def _score(
    setting: TrainConfig, store: Store, members: list[Member], who: list[str], work: Path
) -> None:
    """Train a candidate on some folds and append what it reached on the held-out parts."""
    device = torch.device(Device().convert("auto", None, None))  # as the command chooses it
    precision = resolve_precision(setting.precision, device)
    config = replace(setting, device=str(device), precision=precision)
    taps = config.resolve_taps(store.identity.levels)
    planned = Trainings(ask(store, STORE_LABELS).select_readable(), members, ())
    inputs, _ = plan_inputs(config, store, planned)
    data = load_where_it_fits(inputs, config, ignore_remark, 1)
    labels = data.labels.cpu().numpy()
    for member in members:
        scaled = scale_inputs(data, store, member.train)
        result = train_member(member, scaled, config, taps, lambda _: None)
        held_out = member.test.numpy()
        given = labels[held_out], result.probabilities[held_out]
        seconds = sum(line.seconds for line in result.epochs)
        figures = [
            member.fold,
            compute_macro_auc(*given),
            compute_accuracy(*given),
            round(seconds, 1),
        ]
        _append(work / CHOICES, [*who, options(setting), *figures])
        print(f"{' '.join(who)}, fold {member.fold}: AUC {figures[1]:.3f}", flush=True)


def _append(path: Path, line: list[object]) -> None:
    """Add one line, with its heads if it is the first, in one write: a kill leaves it or not."""
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([line] if file.tell() else [COLUMNS, line])
