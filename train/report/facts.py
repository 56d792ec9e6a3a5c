"""The facts of a report, read from run folders and from their store."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.care.info import describe
from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.files.typed_json import convert
from samcache.cache.format.identity import Identity
from samcache.cache.format.samples import SPLITS
from samcache.cache.format.views import VIEW_SETS
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.compare import Row, compare_runs
from samcache.train.runs.errors import name_file_in_errors, report_run_errors
from samcache.train.runs.folder import CONFIG, PREDICTIONS, RESULTS
from samcache.train.runs.run import Run, open_run
from samcache.train.runs.store import open_run_store
from samcache.train.runs.write_run import FractionScores
from samcache.train.scores.bootstrap import LabelledPredictions, Summary
from samcache.train.scores.format import TITLES
from samcache.train.scores.metrics import Floats, Ints

_CONFIG = (
    *("store", "out", "attention", "backbone", "join", "inputs", "identity", "versions"),
    *("keep", "epochs", "batch_size", "image_size", "augment"),
)
_RESULTS = ("dataset", "folds", "missing", "unreadable", "leaks", "fractions")
_MEMBER = (
    *("seed", "fold", "fraction", "samples", "scores", "kept_epoch", "val_auc"),
    "train_seconds",
)
_EDGE = r"-?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]{1,2})?"
_WINDOW = re.compile(f"{_EDGE},{_EDGE}")
_SCORED = {"accuracy", "balanced_accuracy", "auc", "f1", "ece"}

_RECOMPUTED = ("auc", "accuracy", "balanced_accuracy", "f1")  # to the digits of predictions.csv
_ROUNDING = 1e-6

COMPARED = ("auc", "accuracy", "balanced_accuracy", "f1", "ece")


@dataclass(frozen=True)
class ReportedRun:
    """What a page says of a run: its trainings, scores and answers at its greatest fraction.

    tests, epochs: the run's. The report speaks of one classifier: the ensemble, whose probabilities
    are the mean over the seeds.
    """

    run: Run
    tests: dict[float, pd.DataFrame]
    epochs: pd.DataFrame
    fractions: tuple[FractionScores, ...]  # ascending

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return self.run.config

    @property
    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        return self.run.results

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.run.classes

    @property
    def scores(self) -> FractionScores:
        """The seeds' scores, each seed by itself and together."""
        return self.fractions[-1]

    @cached_property
    def members(self) -> list[dict[str, Any]]:
        """The trainings, as in results.json."""
        return [m for m in self.results["members"] if m["fraction"] == self.scores.fraction]

    @cached_property
    def test(self) -> pd.DataFrame:
        """Every training's predictions for its test samples, sorted by seed and id."""
        return self.tests[self.scores.fraction]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds, ascending."""
        return sorted(int(seed) for seed in self.test["seed"].unique())

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The test samples with id, label, group and fold, sorted by id."""
        own = self.test["seed"] == self.seeds[0]
        return self.test.loc[own, ["id", "label", "group", "fold"]].reset_index(drop=True)

    @cached_property
    def labels(self) -> Ints:
        """Each test sample's class, (n,) below K."""
        return self.samples["label"].map(self.classes.index).to_numpy(dtype=np.int64)

    @cached_property
    def ensemble(self) -> LabelledPredictions:
        """The test predictions of the ensemble, as of one training."""
        columns = [f"p_{name}" for name in self.classes]
        flat = self.test[columns].to_numpy(dtype=np.float32)  # as train averages them
        seeds = LabelledPredictions(
            labels=self.labels,
            groups=number_groups(self.samples),
            probabilities=flat.reshape(len(self.seeds), -1, len(self.classes)),
            classes=self.classes,
            ordered=self.run.ordered,
        )
        return seeds.average()

    @property
    def probabilities(self) -> Floats:
        """The ensemble's probabilities for the test samples, (n, K) float32."""
        probabilities: Floats = self.ensemble.probabilities[0]
        return probabilities

    @cached_property
    def answers(self) -> Ints:
        """The ensemble's class for each test sample, (n,) below K."""
        answers: Ints = self.probabilities.argmax(axis=1)
        return answers

    @cached_property
    def metrics(self) -> dict[str, Summary]:
        """Every metric of the ensemble; the intervals are over test samples alone."""
        if self.scores.ensemble is not None:
            return self.scores.ensemble
        return self.scores.metrics if len(self.seeds) == 1 else self.ensemble.summarise()

    @property
    def commonest(self) -> tuple[str, float]:
        """The class with most test samples, and its share of the test samples."""
        sizes = np.bincount(self.labels, minlength=len(self.classes))
        largest = int(sizes.argmax())
        return self.classes[largest], float(sizes[largest] / sizes.sum())


@dataclass(frozen=True)
class Facts:
    """Everything that a page is made of.

    others: the runs to compare with, with the baseline. comparison: the metrics of all runs, those
    of the baseline first. store: None where none can be read, and then ``no_store`` says why;
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

    @property
    def groups(self) -> pd.Series:
        """The patient of every image, "" where unknown; without a store, of the test images."""
        if self.store is None:
            return self.run.samples["group"]
        samples = self.store.samples
        return samples.loc[samples["status"] == "ok", "group"]

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
    first = base or run
    rest = [each.run for each in (run, *others) if each is not first]
    rows = compare_runs([first.run, *rest], COMPARED)
    for each in (run, *others):
        _check_means(each, rows)
        _check_ensemble(each)
    opened, described, reason = _open_store(run, store)
    return Facts(run, others, base, rows, opened, described, reason)


def read_reported(folder: Path) -> ReportedRun:
    """Read everything of a finished run; raises ConfigError where there is none."""
    run = open_run(folder)
    tests = run.tests
    run.check_files()
    with report_run_errors(folder):
        _check_complete(run)
        with name_file_in_errors(RESULTS):
            scores = convert(run.results["fractions"], list[FractionScores])
            for one in scores:
                _check_scores(one, run)
        fractions = tuple(sorted(scores, key=lambda one: one.fraction))
        members = run.results["members"]
        if not any(member["fraction"] == fractions[-1].fraction for member in members):
            raise ValueError(f"{RESULTS}: members: expected those of the greatest fraction")
    return ReportedRun(run, tests, run.epochs, fractions)


def _check_means(run: ReportedRun, rows: list[Row]) -> None:
    """Raise ConfigError where results have another mean than the predictions: a run is not whole.

    Older runs have no checksum of their results.
    """
    for scores in run.fractions:
        for row in rows:
            own = (row.run, row.fraction) == (str(run.folder), scores.fraction)
            if own and row.metric in _RECOMPUTED:
                _check_same(run, row.metric, scores.metrics[row.metric].mean, row.summary.mean)


def _check_ensemble(run: ReportedRun) -> None:
    """Raise ConfigError where results have another ensemble than the predictions."""
    recomputed = run.ensemble.score_trainings()
    for metric in _RECOMPUTED:
        _check_same(run, metric, run.metrics[metric].mean, float(recomputed[metric][0]))


def _check_same(run: ReportedRun, metric: str, recorded: float, recomputed: float) -> None:
    if not abs(recorded - recomputed) < _ROUNDING:
        raise ConfigError(
            f"{run.folder} cannot be read as a run (results.json has {metric} {recorded:.4g}, its "
            f"predictions {recomputed:.4g}): train it again"
        )


def _check_complete(run: Run) -> None:
    """Raise KeyError where a page would miss something of config.json or results.json.

    What came with later versions is not asked for.
    """
    needed: list[tuple[dict[str, Any], tuple[str, ...]]]
    needed = [(run.config, _CONFIG), (run.results, _RESULTS)]
    for member in run.results["members"]:
        needed += [(member, _MEMBER), (member["samples"], SPLITS)]
        needed.append((member["scores"], ("accuracy", "auc")))
    for values, names in needed:
        for name in names:
            values[name]
    identity = Identity.from_json(run.config["identity"])
    if identity.views not in VIEW_SETS.values():
        raise ValueError(f"{CONFIG}: identity.views: expected a known set of views")
    if identity.window != "auto" and not _WINDOW.fullmatch(identity.window):
        raise ValueError(f"{CONFIG}: identity.window: expected auto, or two numbers")


def _check_scores(scores: FractionScores, run: Run) -> None:
    """Raise ValueError where a fraction's scores are not those of the run's classes."""
    each = {f"{kind}:{name}" for kind in ("auc", "ap") for name in run.classes}
    for found in (scores.metrics, scores.ensemble):
        if found is not None and not each | _SCORED <= found.keys() <= each | set(TITLES):
            raise ValueError(f"fractions: expected the metrics {', '.join(sorted(_SCORED))}, …")
    if scores.fraction not in run.tests:
        raise ValueError(f"fractions: expected those of {PREDICTIONS}, got {scores.fraction:g}")


def _open_store(run: ReportedRun, asked: str | None) -> tuple[Store | None, dict[str, Any], str]:
    """The store, what it says of itself, and why there is none."""
    try:
        store = open_run_store(run.run, asked)
        return store, describe(store), ""
    except (StoreError, OSError) as error:
        if asked:
            raise
        return None, {}, " ".join(str(error).split())
