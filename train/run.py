"""``samcache train``: read the store once, train every member from it, write the run folder."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samcache.cache.care.stage import stage_store
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.controls import fill_with_noise, with_others_features
from samcache.train.data.dataset import (
    IDENTITY,
    Sides,
    TrainingData,
    image_side,
    load_training_data,
    scaled_to,
    training_bytes,
)
from samcache.train.data.residency import choose_residency
from samcache.train.fit import distributed
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.fit.precision import forbid_tf32, resolved_precision
from samcache.train.fit.tensorboard import event_writer
from samcache.train.fit.training import DivergedError, EpochMetrics, MemberResult, train_member
from samcache.train.model.backbones import build_backbone, weights_sha256
from samcache.train.model.pooling import given_sides
from samcache.train.model.stage_shapes import run_once
from samcache.train.runs.folder import held, open_run_folder
from samcache.train.runs.write import Results, summarise, write_run
from samcache.train.tasks.splits import Member, readable_samples, trained_classes
from samcache.train.tasks.trainings import plan_trainings, warn

TENSORBOARD = "tensorboard"  # the folder of events in a run's


def train(config: TrainConfig, console: Console) -> Results:
    """Train all members with a progress bar on ``console``; raises SamcacheError.

    Under torchrun every process calls this and gets the results; the first one writes them.
    """
    with distributed.joined(config.device) as device:
        console.quiet = console.quiet or distributed.rank() > 0
        precision = resolved_precision(config.precision, device)
        forbid_tf32()
        with ExitStack() as holding:
            resolved = replace(config, device=str(device), precision=precision)
            return _train(resolved, console, holding)


def _train(config: TrainConfig, console: Console, holding: ExitStack) -> Results:
    folder = config.out
    with distributed.first_alone():
        store = stage_store(
            Store(config.store),
            partial(console.print, markup=False, highlight=False, soft_wrap=True),
        )
    taps = config.tapped(store.identity.levels)
    planned = plan_trainings(store, config.seeds, config.folds, config.fractions)
    members = planned.members
    warn(console, planned.remarks)
    with distributed.first_alone():  # what cannot be built is refused before a folder is made
        sides = given_sides(config, store)
        check_backbone(config, store)
        open_run_folder(folder, config.overwrite)
        if distributed.rank() == 0:
            holding.enter_context(held(folder))
        decided = decisive(config, store, members)
        checkpoints = Checkpoints(folder, decided, config.overwrite)
        if not checkpoints.resumed:
            shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    if config.ordered:
        grades = " < ".join(planned.classes)
        console.print(f"grades in order: {grades}", markup=False, highlight=False)
    started = time.perf_counter()
    data = loaded(config, store, sides, console).to(torch.device(config.device))
    load_seconds = time.perf_counter() - started
    trained: list[MemberResult] = []
    with _epoch_progress(config, folder, len(members), console) as begin:
        for number, member in enumerate(members):
            inputs = given_maps(scaled_to(data, store, member.train), member, config)
            on_epoch = begin(number, member)
            try:
                trained.append(train_member(member, inputs, config, taps, on_epoch, checkpoints))
            except DivergedError:  # nothing to go on with: other options are wanted
                if distributed.rank() == 0:
                    checkpoints.remove()
                raise
    results = summarise(store, data, trained, config, load_seconds, time.perf_counter() - started)
    if distributed.rank() == 0:
        weights = decided.get("pretrained_sha256")
        write_run(folder, config, store, taps, data, trained, results, weights)
        checkpoints.remove()
    return results


def check_backbone(config: TrainConfig, store: Store) -> None:
    """Raise ConfigError where a backbone cannot be had, or does not take images of that size."""
    side, classes = image_side(store, config.image_size), len(trained_classes(store))
    weights, stem = config.pretrained, config.stem
    run_once(build_backbone(config.backbone, classes, side, pretrained=weights, stem=stem), side)


def loaded(config: TrainConfig, store: Store, sides: Sides, console: Console) -> TrainingData:
    """The store's data, read once for all trainings, where there is room; says so."""
    device = torch.device(config.device)
    views = store.identity.views if config.augment else IDENTITY
    loading = store, sides, config.image_size
    need = training_bytes(*loading, views)
    residency = choose_residency(need, device, config.residency, distributed.processes_here())
    place = {"device": f"on {device}", "memory": "in memory", "disk": "on disk, mapped to memory"}
    console.print(f"images and features: {decimal(need)}, {place[residency]}", highlight=False)
    data = load_training_data(*loading, residency, views, device)
    if config.attention == "random":
        fill_with_noise(data)
    return data


def given_maps(data: TrainingData, member: Member, config: TrainConfig) -> TrainingData:
    """The data with the maps that a member's kind of attention is given."""
    anothers = config.attention in ("shuffled", "random")  # another row's noise is another noise
    return with_others_features(data, member) if anothers else data


Begin = Callable[[int, Member], Callable[[EpochMetrics], None]]


@contextmanager
def _epoch_progress(
    config: TrainConfig, folder: Path, members: int, console: Console
) -> Iterator[Begin]:
    """A bar over all epochs of the members; each gets what it calls after an epoch."""
    first = distributed.rank() == 0
    write = event_writer(folder / TENSORBOARD) if config.tensorboard and first else None
    with _progress(console) as progress:
        task = progress.add_task("", total=members * config.epochs, auc="")

        def begin(number: int, member: Member) -> Callable[[EpochMetrics], None]:
            progress.update(task, completed=number * config.epochs)

            def on_epoch(line: EpochMetrics) -> None:
                label = f"seed {line.seed}{_part(line)}, epoch {line.epoch}"
                auc = f"validation AUC {line.val_auc:.3f}"
                done = number * config.epochs + line.epoch  # more than were run here, if resumed
                progress.update(task, completed=done, description=label, auc=auc)
                if write:
                    write(member.name, line)

            return on_epoch

        yield begin
        progress.update(task, completed=members * config.epochs)


def _part(line: EpochMetrics) -> str:
    fold = "" if line.fold is None else f", fold {line.fold}"
    return fold if line.fraction == 1 else f"{fold}, {line.fraction:g} of the training rows"


def decisive(config: TrainConfig, store: Store, members: list[Member]) -> dict[str, Any]:
    """Everything that decides a number of the run: a resumed run must agree in all of it."""
    options = config.to_json()
    options["device"] = torch.device(config.device).type  # torchrun's processes have a GPU each
    for name in ("store", "out", "overwrite", "residency", "tensorboard"):
        del options[name]
    rows = hashlib.sha256()
    for member in members:
        for part in (member.train, member.val, member.test):
            rows.update(part.numpy().tobytes() + b"|")
    table = {"samples": _digest(store), "rows": rows.hexdigest()[:16]}
    if weights := weights_sha256(config.pretrained):
        table["pretrained_sha256"] = weights
    return {**options, "fingerprint": store.fingerprint[:16], **table, "torch": torch.__version__}


def _digest(store: Store) -> str:
    """Of the classes, and of every readable sample: another data set has the same fingerprint."""
    told = readable_samples(store)[["id", "label", "split", "group", "sha256"]]
    text = json.dumps(trained_classes(store)) + told.to_csv(index=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[auc]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
