"""The run folder: config.json, metrics.csv, predictions.csv, weights, and results.json last."""

import hashlib
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from samcache.cache.errors import make_write_error
from samcache.cache.files.digest import hash_file
from samcache.cache.files.typed_json import Text
from samcache.cache.files.whole_file import remove_parts, replace_file, write_json
from samcache.cache.format.pixel_options import PROVENANCE, PixelOptions
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.duplicates import find_duplicates, find_split_groups
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.fit.training import MemberResult
from samcache.train.runs.csv_cells import guard_cells
from samcache.train.runs.folder import (
    CONFIG,
    METRICS,
    PREDICTIONS,
    RESULTS,
    SEEN,
    remove_former,
    seal_results,
)
from samcache.train.runs.records import MeanCount, Samples, Share
from samcache.train.runs.used_stores import (
    STORE_FROM_RUN,
    describe_used_stores,
    find_path_from_run,
)
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.intervals import METHOD, Summary
from samcache.train.scores.subgroups import Subgroup, score_subgroups
from samcache.train.tasks.question import BY


@dataclass(frozen=True)
class MemberScores:
    """What one training reached on its own test rows; ``scores`` by the metric's name."""

    seed: int
    fold: int | None
    fraction: float
    samples: dict[str, int]  # split -> samples of this training
    kept_epoch: int
    selected: dict[str, float]  # val_NAME -> the kept epoch's metric that chose it
    train_seconds: float
    scores: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        values = asdict(self)
        selected, seconds = values.pop("selected"), values.pop("train_seconds")
        scores = values.pop("scores")
        line: dict[str, Any] = values | selected | {"train_seconds": seconds, "scores": scores}
        return line


@dataclass(frozen=True)
class FractionScores:
    """What a fraction of the training rows reached; folds are pooled, each sample tested once."""

    fraction: Share
    train_samples: MeanCount  # mean over trainings
    test_samples: Samples
    metrics: dict[Text, Summary]
    ensemble: dict[Text, Summary] | None = None  # of the seeds' mean; None of one seed


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    dataset: str
    fingerprint: str  # of the store
    classes: tuple[str, ...]
    folds: int | None
    missing: int  # samples of the store that are not extracted yet
    unreadable: int
    leaks: list[dict[str, Any]]  # images that occur in more than one split
    parted_groups: int  # in more than one split; folds keep them whole
    fractions: list[FractionScores]
    members: list[MemberScores]
    load_seconds: float
    total_seconds: float
    subgroups: list[Subgroup] = field(default_factory=list)  # at the greatest fraction

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        values = {
            **asdict(self),
            "intervals": METHOD,
            "members": [member.to_json() for member in self.members],
        }
        if not self.subgroups:
            del values["subgroups"]
        return values


@dataclass(frozen=True)
class RunContent:
    """Everything that a finished run's folder is written from.

    taps: level -> stage. record: the question's. pretrained_sha256: of the file of weights that
    trainings began with.
    """

    config: TrainConfig
    store: Store
    taps: dict[str, str]
    data: TrainingData
    record: dict[str, Any]
    members: list[MemberResult]
    pretrained_sha256: str | None
    load_seconds: float
    total_seconds: float


def summarise(run: RunContent) -> Results:
    """Score every training on its test rows, and every fraction over all of them."""
    config, store, data = run.config, run.store, run.data
    status = store.samples["status"]
    return Results(
        dataset=store.dataset.name,
        fingerprint=store.fingerprint,
        classes=data.target.names,
        folds=_count_folds(run),
        missing=int((status == "missing").sum()),
        unreadable=int((status == "unreadable").sum()),
        leaks=[asdict(same) for same in find_duplicates(data.samples) if same.leaks],
        parted_groups=0 if _count_folds(run) else len(find_split_groups(data.samples)),
        fractions=[
            _score_fraction(data, [r for r in run.members if r.member.fraction == fraction])
            for fraction in config.fractions
        ],
        members=[_score_member(data, result) for result in run.members],
        load_seconds=run.load_seconds,
        total_seconds=run.total_seconds,
        subgroups=_score_subgroups(run),
    )


def _score_subgroups(run: RunContent) -> list[Subgroup]:
    """The subgroups of the test samples, by the ensemble of the seeds at the greatest fraction."""
    data, greatest = run.data, max(run.config.fractions)
    trained = [result for result in run.members if result.member.fraction == greatest]
    by_seed = _group_by_seed(trained)
    columns = data.samples.iloc[_list_tested(by_seed[0])]
    values = {name: columns[f"{BY}{name}"].to_numpy(dtype=object) for name in run.config.task.by}
    predictions = _gather_test(data, by_seed).average()
    return score_subgroups(predictions, values, data.target.count_sides)


def _count_folds(run: RunContent) -> int | None:
    """How many folds there are, None for the splits."""
    folds = {result.member.fold for result in run.members} - {None}
    return len(folds) or None


def _score_member(data: TrainingData, result: MemberResult) -> MemberScores:
    member, kept = result.member, result.epochs[result.kept_epoch - 1]
    parts = zip(SPLITS, (member.train, member.val, member.test), strict=True)
    scores = _gather_test(data, [[result]]).score_trainings()
    return MemberScores(
        seed=member.seed,
        fold=member.fold,
        fraction=member.fraction,
        samples={split: len(rows) for split, rows in parts},
        kept_epoch=result.kept_epoch,
        selected={f"val_{kept.selection}": kept.selected},
        train_seconds=sum(line.seconds for line in result.epochs),
        scores={name: float(v[0]) for name, v in scores.items() if np.isfinite(v[0])},
    )


def _score_fraction(data: TrainingData, trained: list[MemberResult]) -> FractionScores:
    by_seed = _group_by_seed(trained)
    predictions = _gather_test(data, by_seed)
    return FractionScores(
        fraction=trained[0].member.fraction,
        train_samples=float(np.mean([len(result.member.train) for result in trained])),
        test_samples=len(predictions.labels),
        metrics=predictions.summarise(),
        ensemble=predictions.average().summarise() if len(by_seed) > 1 else None,
    )


def _group_by_seed(trained: list[MemberResult]) -> list[list[MemberResult]]:
    """The trainings of each seed, the seeds ascending, as comparing has them."""
    seeds = sorted({result.member.seed for result in trained})
    return [[r for r in trained if r.member.seed == seed] for seed in seeds]


def _list_tested(trained: list[MemberResult]) -> npt.NDArray[np.int64]:
    """The test rows of one seed's folds, (n,)."""
    rows: npt.NDArray[np.int64] = torch.cat([result.member.test for result in trained]).numpy()
    return rows


def _gather_test(data: TrainingData, by_seed: list[list[MemberResult]]) -> LabelledPredictions:
    """Each seed's probabilities for the test rows of all its folds."""
    rows = _list_tested(by_seed[0])
    return LabelledPredictions(
        labels=data.labels.cpu().numpy()[rows],
        groups=number_groups(data.samples)[rows],
        probabilities=np.stack(
            [np.concatenate([r.probabilities[r.member.test] for r in row]) for row in by_seed]
        ),
        target=data.target,
    )


def write_run(run: RunContent, results: Results) -> None:
    """Write every file of a finished run in place of a former run's.

    results.json is last, and has the SHA-256 of each of the others.
    """
    folder, data = run.config.out, run.data
    (folder / RESULTS).unlink(missing_ok=True)
    write_json(folder / CONFIG, _describe_run(run))
    lines = [line.to_line() for result in run.members for line in result.epochs]
    _write_table(folder / METRICS, pd.DataFrame(lines))
    _write_predictions(folder / PREDICTIONS, data, run.members)
    _write_table(folder / SEEN, _list_seen(data, run.members))
    weights = {f"{result.member.name}.safetensors": result for result in run.members}
    for name, result in weights.items():
        _save(_collect_tensors(result), folder / name)
    remove_former(folder, set(weights))
    remove_parts(folder)
    names = (CONFIG, METRICS, PREDICTIONS, SEEN, *weights)
    sums = {name: hash_file(folder / name) for name in names}
    write_json(folder / RESULTS, seal_results({**results.to_json(), "files": sums}))


def _describe_run(run: RunContent) -> dict[str, Any]:
    """The content of config.json: every option as it was resolved, and what it was used on."""
    store, data = run.store, run.data
    asked: dict[str, Any] = {"task": run.record} if run.record else {}
    if data.target.kind != "class":
        asked["target"] = data.target.to_json()
    return {
        **run.config.to_json(),
        STORE_FROM_RUN: find_path_from_run(run.config.store, run.config.out),
        "taps": run.taps,
        "image_size": data.images.shape[-1],
        "inputs": {level: maps.shape[1:] for level, maps in data.pooled.items()},
        "fingerprint": store.fingerprint,
        "identity": asdict(store.identity),
        PROVENANCE: (PixelOptions.from_record(store.provenance) or PixelOptions()).to_json(),
        **describe_used_stores(run.config, store),
        "pretrained_sha256": run.pretrained_sha256,
        "samples": _hash_parts(data, run.members),
        "classes": data.target.names,
        **asked,
        "versions": {name: version(name) for name in ("samcache", "torch", "torchvision")},
    }


def _hash_parts(data: TrainingData, trained: list[MemberResult]) -> dict[str, str]:
    """Part -> SHA-256 of its samples' ids and images, over all members, to compare runs by."""
    found = {}
    for split in SPLITS:
        rows = np.unique(np.concatenate([getattr(r.member, split).numpy() for r in trained]))
        table = data.samples[["id", "sha256"]].iloc[rows].sort_values("id")
        found[split] = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
    return found


def _list_seen(data: TrainingData, trained: list[MemberResult]) -> pd.DataFrame:
    """Id and SHA-256 of every sample that any member has learned from or chosen its epoch by."""
    members = [result.member for result in trained]
    parts = [part.numpy() for member in members for part in (member.train, member.val)]
    return data.samples[["id", "sha256"]].iloc[np.unique(np.concatenate(parts))]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with replace_file(path) as part:
        guard_cells(table).to_csv(part, index=False)


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights that whoever may read the folder's other files may read too."""
    with replace_file(path) as part:
        try:
            save_file(tensors, part)
        except SafetensorError as error:
            raise make_write_error(path, error) from None


def _collect_tensors(result: MemberResult) -> dict[str, torch.Tensor]:
    """A member's weights and its scales, under the names that train/runs/ensemble.py gives them."""
    tensors = {f"classifier.{name}": tensor for name, tensor in result.weights.items()}
    for name, scale in result.scales.items():
        tensors |= {f"scales.{name}.mean": scale.mean, f"scales.{name}.std": scale.std}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _write_predictions(path: Path, data: TrainingData, trained: list[MemberResult]) -> None:
    """Write each training's validation and test samples with their labels and probabilities.

    A training at a time: a table of all would hold the probabilities of all again.
    """
    target = data.target
    labels = pd.DataFrame(target.write_labels(data.labels.cpu().numpy()))
    subgroups = [name for name in map(str, data.samples) if name.startswith(BY)]
    with replace_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for number, result in enumerate(trained):
            member, roles = result.member, result.member.assign_roles(len(labels))
            rows = np.flatnonzero(np.isin(roles, ("val", "test")))
            samples = data.samples.iloc[rows].reset_index(drop=True)
            who = pd.DataFrame(
                {"seed": member.seed, "fold": member.fold, "fraction": float(member.fraction)},
                index=samples.index,
            )
            table = samples[["id"]].assign(split=roles[rows], group=samples["group"])
            own = labels.iloc[rows].reset_index(drop=True)
            outputs = pd.DataFrame(result.probabilities[rows], columns=target.output_columns)
            table = pd.concat([who, table, own, outputs, samples[subgroups]], axis=1)
            guard_cells(table).to_csv(file, index=False, header=number == 0)
