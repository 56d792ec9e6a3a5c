"""``samcache train``: read the store once, train every member from it, write the run folder."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.controls import choose_features
from samcache.train.data.dataset import IDENTITY, TrainingData
from samcache.train.data.load import InputPlan, choose_image_side, load_where_it_fits
from samcache.train.data.open_stores import open_stores
from samcache.train.data.scaling import scale_for_members
from samcache.train.fit import distributed
from samcache.train.fit.build import DrawnBackbone, draw_backbone
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.fit.objective import read_loss_options
from samcache.train.fit.precision import forbid_tf32, resolve_precision
from samcache.train.fit.progress import OnTraining, TrainingProgress, ignore_training
from samcache.train.fit.tensorboard import open_event_writer
from samcache.train.fit.training import DivergedError, EpochMetrics, MemberResult, train_member
from samcache.train.model.backbones import hash_weights
from samcache.train.model.pooling import choose_sides
from samcache.train.model.stage_shapes import run_once
from samcache.train.runs.folder import CHECKPOINTS, lock_folder, open_run_folder
from samcache.train.runs.write_run import Results, RunContent, summarise, write_run
from samcache.train.tasks.question import Question
from samcache.train.tasks.splits import Member
from samcache.train.tasks.trainings import Trainings, plan_trainings

TENSORBOARD = "tensorboard"  # the folder of events in a run's


def train(
    config: TrainConfig,
    on_remark: OnRemark = ignore_remark,
    on_progress: OnTraining = ignore_training,
    on_copy: OnProgress = ignore_progress,
) -> Results:
    """Train all members and write the run; raises SamcacheError.

    on_copy: called while a store at a URL is copied to the local disk. Under torchrun every process
    calls this function and gets the results; the first process writes them and is the only one that
    calls back.
    """
    with distributed.join_processes(config.device) as device, ExitStack() as locks:
        if distributed.get_rank() > 0:
            on_remark, on_progress, on_copy = ignore_remark, ignore_training, ignore_progress
        precision = resolve_precision(config.precision, device)
        forbid_tf32()
        resolved = replace(config, device=str(device), precision=precision)
        prepared = _prepare(resolved, on_remark, on_copy, locks)
        return _train(prepared, on_remark, on_progress)


@dataclass(frozen=True)
class _Prepared:
    """A run whose options are checked, and whose folder is made and locked.

    drawn: the first member's backbone, which showed that the options can be built; an iterator, so
    that no finished network stays in memory. decided: what decides a number of the run.
    """

    config: TrainConfig
    taps: dict[str, str]
    members: list[Member]
    inputs: InputPlan
    drawn: Iterator[DrawnBackbone]
    decided: dict[str, Any]
    checkpoints: Checkpoints


def _prepare(
    config: TrainConfig, on_remark: OnRemark, on_copy: OnProgress, locks: ExitStack
) -> _Prepared:
    """Check everything that can be wrong, and only then make the folder."""
    with distributed.let_first_finish():
        store = open_stores(config, on_remark, on_copy)
    planned = plan_trainings(store, config.seeds, config.folds, config.fractions, config.task)
    for line in planned.question.notes:
        on_remark(Remark(line))
    for remark in planned.remarks:
        on_remark(Remark(f"warning: {remark}"))
    with distributed.let_first_finish():
        inputs, first = plan_inputs(config, store, planned)
        open_run_folder(config.out, config.overwrite)
        if distributed.get_rank() == 0:
            locks.enter_context(lock_folder(config.out))
        decided = describe_run(config, inputs, planned.members)
        checkpoints = Checkpoints(config.out / CHECKPOINTS, decided, config.overwrite)
        if not checkpoints.resumed:
            shutil.rmtree(config.out / TENSORBOARD, ignore_errors=True)
    if config.task.ordered:
        on_remark(Remark(f"grades in order: {' < '.join(planned.question.target.names)}"))
    taps = config.resolve_taps(store.identity.levels)
    return _Prepared(config, taps, planned.members, inputs, iter([first]), decided, checkpoints)


def plan_inputs(
    config: TrainConfig, store: Store, planned: Trainings
) -> tuple[InputPlan, DrawnBackbone]:
    """What a run's trainings read, and the first member's backbone.

    Raises ConfigError where the backbone cannot be built, or does not take images of that size.
    """
    question, (member, *_) = planned.question, planned.members
    trained_on = torch.from_numpy(question.labels[member.train.numpy()])
    question.target.make_loss(read_loss_options(config), trained_on)  # refuses another kind's
    side = choose_image_side(store, config.image_size)
    first = draw_backbone(config, question.target.logits, side, member.seed)
    run_once(first.backbone, side)
    sides = choose_sides(config, store, first.backbone)
    views = store.identity.views if config.augment else IDENTITY
    return InputPlan(store, question, sides, side, views), first


def _train(prepared: _Prepared, on_remark: OnRemark, on_progress: OnTraining) -> Results:
    """Load the data, train every member, and write the run."""
    config, inputs, started = prepared.config, prepared.inputs, time.perf_counter()
    data = load_where_it_fits(inputs, config, on_remark, distributed.count_processes_here())
    load_seconds = time.perf_counter() - started
    trained = _train_members(prepared, data, on_progress)
    run = RunContent(
        config=config,
        store=inputs.store,
        taps=prepared.taps,
        data=data,
        record=inputs.question.record,
        members=trained,
        pretrained_sha256=prepared.decided.get("pretrained_sha256"),
        load_seconds=load_seconds,
        total_seconds=time.perf_counter() - started,
    )
    results = summarise(run)
    if distributed.get_rank() == 0:
        write_run(run, results)
        prepared.checkpoints.remove()
    return results


def _train_members(
    prepared: _Prepared, data: TrainingData, on_progress: OnTraining
) -> list[MemberResult]:
    """Train every member in turn; one that is finished already is read from its checkpoint."""
    config, checkpoints = prepared.config, prepared.checkpoints
    writes_events = config.tensorboard and distributed.get_rank() == 0
    write_event = open_event_writer(config.out / TENSORBOARD) if writes_events else None
    total = len(prepared.members) * config.epochs
    trained: list[MemberResult] = []
    scaled = scale_for_members(data, prepared.inputs.store, prepared.members)
    for number, (member, inputs) in enumerate(scaled):
        begun = number * config.epochs
        on_progress(TrainingProgress(begun, total))

        def on_epoch(line: EpochMetrics, member: Member = member, begun: int = begun) -> None:
            on_progress(TrainingProgress(begun + line.epoch, total, line))
            if write_event is not None:
                write_event(member.name, line)

        given = choose_features(inputs, member, config.attention)
        drawn = next(prepared.drawn, None)  # every other member draws its own
        try:
            trained.append(
                train_member(member, given, config, prepared.taps, on_epoch, checkpoints, drawn)
            )
        except DivergedError:  # nothing to go on with: other options are wanted
            if distributed.get_rank() == 0:
                checkpoints.remove()
            raise
    on_progress(TrainingProgress(total, total))
    return trained


def describe_run(
    config: TrainConfig, inputs: InputPlan, members: Sequence[Member]
) -> dict[str, Any]:
    """Everything that decides a number of the run: a resumed run must agree in all of it."""
    options = config.to_json()
    if inputs.question.record:
        options["task"] = inputs.question.record
    options["device"] = torch.device(config.device).type  # torchrun's processes have a GPU each
    for name in ("store", "more_stores", "out", "overwrite", "residency", "tensorboard"):
        options.pop(name, None)
    rows = hashlib.sha256()
    for member in members:
        for part in (member.train, member.val, member.test):
            rows.update(part.numpy().tobytes() + b"|")
    table = {
        "samples": _hash_samples(inputs.question),
        "rows": rows.hexdigest()[:16],
    }
    if weights := hash_weights(config.pretrained):
        table["pretrained_sha256"] = weights
    fingerprint = inputs.store.fingerprint[:16]
    return {**options, "fingerprint": fingerprint, **table, "torch": torch.__version__}


def _hash_samples(question: Question) -> str:
    """Of the names and every sample with an answer: another data set has the same fingerprint."""
    table = question.samples[["id", "label", "split", "group", "sha256"]]
    text = json.dumps(question.target.names) + table.to_csv(index=False)
    if not question.target.graded:  # the label of a sample is more than its class
        text += hashlib.sha256(question.labels.tobytes()).hexdigest()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
