"""``samcache train``: read the store once, train every member from it, write the run folder."""

import hashlib
import time
from typing import Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samcache.cache.stage import staged
from samcache.cache.store import Store
from samcache.train.checkpoint import Checkpoints
from samcache.train.config import TrainConfig
from samcache.train.controls import resolved_kernel, with_noise, with_others_features
from samcache.train.data import load_training_data, scaled_to, training_bytes
from samcache.train.loop import EpochMetrics, MemberResult, train_member
from samcache.train.outputs import Results, open_run_folder, summarise, write_run
from samcache.train.residency import choose_residency
from samcache.train.splits import Member, plan_members, readable_samples
from samcache.train.tensorboard import event_writer


def train(config: TrainConfig, console: Console) -> Results:
    """Train all members with a progress bar on ``console``; raises SamcacheError."""
    store = staged(Store(config.store), console)
    taps = config.tapped(store.identity.levels)
    kernel = resolved_kernel(config, store)
    members = plan_members(
        readable_samples(store),
        store.dataset.classes,
        config.seeds,
        config.folds,
        config.fractions,
    )
    folder = open_run_folder(config)
    checkpoints = Checkpoints(folder, _decisive(config, store, members), config.overwrite)
    write_events = event_writer(folder / "tensorboard") if config.tensorboard else None
    started = time.perf_counter()
    device = torch.device(config.device)
    loading = store, tuple(taps), kernel, config.image_size
    need = training_bytes(*loading)
    residency = choose_residency(need, device, config.residency)
    place = {"device": f"on {device}", "memory": "in memory", "disk": "on disk, mapped to memory"}
    console.print(f"images and features: {decimal(need)}, {place[residency]}", highlight=False)
    data = load_training_data(*loading, residency)
    if config.attention == "random":
        data = with_noise(data)
    load_seconds = time.perf_counter() - started
    missing = int((store.samples["status"] == "missing").sum())
    if missing:
        console.print(
            f"warning: {missing} images of {store.location} are not extracted yet: left out"
        )
    on_device = data.to(device)
    trained: list[MemberResult] = []
    with _progress(console) as progress:
        task = progress.add_task("", total=len(members) * config.epochs, auc="")

        def on_epoch(line: EpochMetrics) -> None:
            label = f"seed {line.seed}{_part(line)}, epoch {line.epoch}"
            auc = f"validation AUC {line.val_auc:.3f}"
            progress.update(task, advance=1, description=label, auc=auc)
            if write_events:
                write_events(member.name, line)

        for number, member in enumerate(members, 1):
            scaled = scaled_to(on_device, store, member.train)
            if config.attention == "shuffled":
                scaled = with_others_features(scaled, member)
            trained.append(train_member(member, scaled, config, taps, on_epoch, checkpoints))
            progress.update(task, completed=number * config.epochs)
    results = summarise(store, data, trained, config, load_seconds, time.perf_counter() - started)
    write_run(folder, config, store, taps, data, trained, results)
    checkpoints.remove()
    return results


def _part(line: EpochMetrics) -> str:
    fold = "" if line.fold is None else f", fold {line.fold}"
    return fold if line.fraction == 1 else f"{fold}, {line.fraction:g} of the training rows"


def _decisive(config: TrainConfig, store: Store, members: list[Member]) -> dict[str, Any]:
    """Everything that decides a number of the run: a resumed run must agree in all of it."""
    options = config.to_json()
    for name in ("store", "out", "overwrite", "residency", "tensorboard"):
        del options[name]
    rows = hashlib.sha256()
    for member in members:
        for part in (member.train, member.val, member.test):
            rows.update(part.numpy().tobytes() + b"|")
    table = {"samples": store.generation.number, "rows": rows.hexdigest()[:16]}
    return {**options, "fingerprint": store.fingerprint[:16], **table, "torch": torch.__version__}


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
