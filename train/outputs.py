"""The run folder: config.json, metrics.csv, predictions.csv, weights, and results.json last."""

import json
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from samcache.cache.duplicates import find_duplicates
from samcache.cache.errors import ConfigError
from samcache.cache.samples import SPLITS
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data import TrainingData
from samcache.train.loop import MemberResult
from samcache.train.metrics import accuracy, macro_auc

RESULTS = "results.json"


@dataclass(frozen=True)
class SeedScores:
    """What one seed reached; accuracy and AUC between 0 and 1."""

    seed: int
    best_epoch: int
    val_auc: float
    test_accuracy: float
    test_auc: float
    train_seconds: float


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    dataset: str
    fingerprint: str  # of the store
    classes: tuple[str, ...]
    counts: dict[str, int]  # split -> samples used
    missing: int  # samples of the store that are not extracted yet
    unreadable: int
    leaks: list[dict[str, Any]]  # images that stand in more than one split
    seeds: list[SeedScores]
    load_seconds: float
    total_seconds: float

    def mean_and_sd(self, score: str) -> tuple[float, float | None]:
        """Mean over seeds and sample standard deviation (None for a single seed)."""
        values = [getattr(seed, score) for seed in self.seeds]
        spread = statistics.stdev(values) if len(values) > 1 else None
        return statistics.fmean(values), spread

    def to_json(self) -> dict[str, Any]:
        """All of it, with the means over seeds."""
        means = {}
        for score in ("test_accuracy", "test_auc"):
            mean, spread = self.mean_and_sd(score)
            means[score] = {"mean": mean, "sd": spread}
        return {**means, **asdict(self)}

    def text(self) -> str:
        """A line per seed and one for the mean, for the terminal."""
        lines = [f"{self.dataset}: test split, {self.counts['test']} samples"]
        lines.append("seed    best epoch    accuracy       AUC")
        for seed in self.seeds:
            lines.append(
                f"{seed.seed:<8}{seed.best_epoch:<14}{seed.test_accuracy:<15.3f}{seed.test_auc:.3f}"
            )
        cells = []
        for score in ("test_accuracy", "test_auc"):
            mean, spread = self.mean_and_sd(score)
            cells.append(f"{mean:.3f}" + (f" ± {spread:.3f}" if spread is not None else ""))
        lines.append(f"{'mean':<22}{cells[0]:<15}{cells[1]}")
        lines.append(f"{self.total_seconds:.1f} s, of which {self.load_seconds:.1f} s loading")
        return "\n".join(lines)


def open_run_folder(config: TrainConfig) -> Path:
    """Make the run folder before any work; raises ConfigError where it is taken."""
    folder = config.out
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file: give a folder")
    taken = folder.is_dir() and any(folder.iterdir())
    if taken and not (folder / "config.json").exists():
        raise ConfigError(f"--out {folder} holds other files: give an empty or new folder")
    if (folder / RESULTS).exists() and not config.overwrite:
        raise ConfigError(f"--out {folder} holds a finished run: give another, or --overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [folder / RESULTS, *folder.glob("seed-*.safetensors")]:
        old.unlink(missing_ok=True)
    return folder


def summarise(
    store: Store,
    data: TrainingData,
    seeds: list[MemberResult],
    load_seconds: float,
    total_seconds: float,
) -> Results:
    """Score every seed on the test split."""
    test = data.rows("test").numpy()
    labels = data.labels.numpy()[test]
    scores = [
        SeedScores(
            seed=result.member.seed,
            best_epoch=result.best_epoch,
            val_auc=result.epochs[result.best_epoch - 1].val_auc,
            test_accuracy=accuracy(labels, result.probabilities[test]),
            test_auc=macro_auc(labels, result.probabilities[test]),
            train_seconds=sum(line.seconds for line in result.epochs),
        )
        for result in seeds
    ]
    status = store.samples["status"]
    return Results(
        dataset=store.dataset.name,
        fingerprint=store.fingerprint,
        classes=data.classes,
        counts={split: len(data.rows(split)) for split in SPLITS},
        missing=int((status == "missing").sum()),
        unreadable=int((status == "unreadable").sum()),
        leaks=[asdict(same) for same in find_duplicates(store.samples) if same.leaks],
        seeds=scores,
        load_seconds=load_seconds,
        total_seconds=total_seconds,
    )


def write_run(
    folder: Path,
    config: TrainConfig,
    store: Store,
    taps: dict[str, str],
    data: TrainingData,
    seeds: list[MemberResult],
    results: Results,
) -> None:
    """Write every file of a finished run, results.json last."""
    resolved = {
        **config.to_json(),
        "taps": taps,
        "image_size": data.images.shape[-1],
        "fingerprint": store.fingerprint,
        "identity": asdict(store.identity),
        "classes": data.classes,
        "versions": {name: version(name) for name in ("samcache", "torch", "torchvision")},
    }
    _write_json(folder / "config.json", resolved)
    lines = [asdict(line) for result in seeds for line in result.epochs]
    pd.DataFrame(lines).to_csv(folder / "metrics.csv", index=False)
    _predictions(data, seeds).to_csv(folder / "predictions.csv", index=False)
    for result in seeds:
        weights = {name: tensor.contiguous() for name, tensor in result.weights.items()}
        save_file(weights, folder / f"{result.member.name}.safetensors")
    _write_json(folder / RESULTS, results.to_json())


def _predictions(data: TrainingData, seeds: list[MemberResult]) -> pd.DataFrame:
    """seed, id, split, label (class name), then one probability per class, for every sample."""
    names = [data.classes[label] for label in data.labels.tolist()]
    base = data.samples[["id", "split"]].assign(label=names)
    tables = []
    for result in seeds:
        columns = [f"p_{name}" for name in data.classes]
        scores = pd.DataFrame(result.probabilities, columns=columns)
        table = pd.concat([base, scores], axis=1)
        table.insert(0, "seed", result.member.seed)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
