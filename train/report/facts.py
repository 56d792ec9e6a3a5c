"""What a report tells, read from the run folders and from the store that they name."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError, SamcacheError
from samcache.cache.info import describe
from samcache.cache.store import Store
from samcache.train.bootstrap import Interval, Summary
from samcache.train.compare import Row, Run, compare, read_run
from samcache.train.metrics import Floats, Ints
from samcache.train.outputs import FractionScores
from samcache.train.run_files import open_files, read_seen, read_table, told_of_run
from samcache.train.run_folder import METRICS

_DRAWN = ("fraction", "epoch", "train_loss", "val_loss", "val_auc")  # of metrics.csv
_RESULTS = ("dataset", "folds", "missing", "unreadable", "leaks")
_MEMBER = ("samples", "kept_epoch", "val_auc")

_RECOMPUTED = ("auc", "accuracy", "balanced_accuracy", "f1")  # to the digits of predictions.csv
_ROUNDING = 1e-6

COMPARED = ("auc", "accuracy", "balanced_accuracy", "f1", "ece")


@dataclass(frozen=True)
class ReportedRun:
    """A finished run: its options and results as written, every epoch, its test predictions.

    config, results: the content of config.json and results.json. epochs: metrics.csv. What is said
    of "the" trainings, scores and predictions is said of the greatest share of the training rows.
    """

    folder: Path
    run: Run
    config: dict[str, Any]
    results: dict[str, Any]
    epochs: pd.DataFrame
    fractions: tuple[FractionScores, ...]  # ascending

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.run.classes

    @property
    def scores(self) -> FractionScores:
        """What the report leads with."""
        return self.fractions[-1]

    @cached_property
    def members(self) -> list[dict[str, Any]]:
        """The trainings, as in results.json."""
        return [m for m in self.results["members"] if m["fraction"] == self.scores.fraction]

    @cached_property
    def test(self) -> pd.DataFrame:
        """Every training's predictions for its test samples, sorted by seed and id."""
        return self.run.tests[self.scores.fraction]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds, ascending."""
        return sorted(int(seed) for seed in self.test["seed"].unique())

    @cached_property
    def labels(self) -> Ints:
        """Each test sample's class, (n,) below K, sorted by id."""
        first = self.test[self.test["seed"] == self.seeds[0]]
        return first["label"].map(self.classes.index).to_numpy(dtype=np.int64)

    @cached_property
    def probabilities(self) -> Floats:
        """Each seed's probabilities for the test samples, (S, n, K)."""
        columns = [f"p_{name}" for name in self.classes]
        flat = self.test[columns].to_numpy(dtype=np.float64)
        return flat.reshape(len(self.seeds), -1, len(self.classes))


@dataclass(frozen=True)
class Facts:
    """Everything that a page is made of.

    others: the runs beside it, the baseline among them. comparison: the metrics of all, those of
    the baseline first. store: None where none can be read, and then ``no_store`` says why;
    described: what ``samcache cache info`` says of it, empty without one.
    """

    run: ReportedRun
    others: list[ReportedRun]
    baseline: ReportedRun | None
    comparison: list[Row]
    store: Store | None
    described: dict[str, Any]
    no_store: str

    @property
    def runs(self) -> list[ReportedRun]:
        """All runs, the reported one first."""
        return [self.run, *self.others]

    @property
    def duplicates(self) -> list[dict[str, Any]]:
        """Images that occur more than once; without a store, those across splits alone."""
        found: list[dict[str, Any]] = self.described.get("duplicates", self.run.results["leaks"])
        return found

    def row(self, run: ReportedRun, metric: str) -> Row:
        """A run's line of the comparison, at its greatest share of the training rows."""
        wanted = str(run.folder), metric, run.scores.fraction
        return next(r for r in self.comparison if (r.run, r.metric, r.fraction) == wanted)


def read_facts(folders: tuple[Path, ...], baseline: Path | None, store: str | None) -> Facts:
    """Read runs and store; the first run that is not the baseline is the reported one.

    baseline: None takes the second run. store: in place of the one that the run names. Raises
    ConfigError where a folder is no finished run, runs cannot be compared, or the store asked for
    is not the run's; StoreError where the store asked for cannot be read.
    """
    unique = {folder.resolve(): folder for folder in folders}
    if baseline is not None:
        unique = {place: f for place, f in unique.items() if place != baseline.resolve()}
        unique[baseline.resolve()] = baseline
    run, *others = (read_reported(folder) for folder in unique.values())
    base = others[0] if others else None
    if others and baseline is not None:
        base = others[-1]
    paths = tuple(unique.values())
    rows = compare(paths, base.folder if base else None, COMPARED)
    for each in (run, *others):
        _check_means(each, rows)
    opened, described, reason = _open_store(run, store)
    return Facts(run, others, base, rows, opened, described, reason)


def read_reported(folder: Path) -> ReportedRun:
    """Read everything of a finished run; raises ConfigError where there is none."""
    run = read_run(folder)
    with told_of_run(folder):
        files = open_files(folder)
        files.check_present()
        config, results = files.config, files.results
        fractions = sorted((_scores(e) for e in results["fractions"]), key=lambda s: s.fraction)
        _check_told(results)
        epochs = read_table(files.path(METRICS), ("seed", "fold", *_DRAWN))
        epochs = epochs.astype(dict.fromkeys(_DRAWN, np.float64))
        return ReportedRun(folder, run, config, results, epochs, tuple(fractions))


def _check_means(run: ReportedRun, rows: list[Row]) -> None:
    """Raise ConfigError where results have another mean than the predictions: a run is not whole.

    Older runs have no checksum of their results.
    """
    for scores in run.fractions:
        for row in rows:
            if (row.run, row.fraction) != (str(run.folder), scores.fraction):
                continue
            told = scores.metrics[row.metric].mean
            if row.metric in _RECOMPUTED and not abs(told - row.summary.mean) < _ROUNDING:
                raise ConfigError(
                    f"{run.folder} cannot be read as a run (results.json has {row.metric} "
                    f"{told:.4g}, its predictions {row.summary.mean:.4g}): train it anew"
                )


def _check_told(results: dict[str, Any]) -> None:
    """Raise KeyError where a page would miss something of results.json, which no checksum covers.

    What came with later versions is not asked for.
    """
    for values, names in ((results, _RESULTS), *((m, _MEMBER) for m in results["members"])):
        for name in names:
            values[name]


def _scores(entry: dict[str, Any]) -> FractionScores:
    summaries = {
        kind: {name: _summary(value) for name, value in entry[kind].items()}
        for kind in ("metrics", "ensemble")
        if entry.get(kind)
    }
    return FractionScores(**{**entry, **summaries})


def _summary(value: dict[str, Any]) -> Summary:
    interval = value["interval"]
    return Summary(value["mean"], value["sd"], Interval(**interval) if interval else None)


def _open_store(run: ReportedRun, asked: str | None) -> tuple[Store | None, dict[str, Any], str]:
    """The store, what it says of itself, and why there is none."""
    location = asked or run.config["store"]
    try:
        store = Store(location)
        if store.fingerprint != run.config["fingerprint"]:
            raise ConfigError(
                f"{location} holds other features than those that {run.folder} was trained from: "
                "give the run's own store"
            )
        # the same features may be another data set's
        if not read_seen(run.folder) <= set(store.samples["sha256"]):
            raise ConfigError(
                f"{location} lacks images that {run.folder} was trained on: give the run's own "
                "store"
            )
        return store, describe(store), ""
    except (SamcacheError, OSError) as error:
        if asked:
            raise
        return None, {}, " ".join(str(error).split())
