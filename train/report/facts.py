"""The facts of a report, read from run folders and from their store."""

import re
from dataclasses import asdict, dataclass, replace
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
from samcache.cache.labels.duplicates import find_duplicates
from samcache.cache.store import Store
from samcache.train.compare import Row, compare_runs, read_predictions
from samcache.train.runs.errors import name_file_in_errors, report_run_errors
from samcache.train.runs.folder import CONFIG, PREDICTIONS, RESULTS
from samcache.train.runs.run import Run, open_run
from samcache.train.runs.store import open_run_store
from samcache.train.runs.write_run import FractionScores
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.format import TITLES, choose_headlines
from samcache.train.scores.intervals import METHOD, Summary
from samcache.train.scores.metrics import Floats, Ints
from samcache.train.scores.subgroups import Subgroup
from samcache.train.tasks.targets.base import Labels, Target

_CONFIG = (
    *("store", "out", "attention", "backbone", "join", "inputs", "identity", "versions"),
    *("keep", "epochs", "batch_size", "image_size", "augment"),
)
_RESULTS = ("dataset", "folds", "missing", "unreadable", "leaks", "fractions")
_MEMBER = ("seed", "fold", "fraction", "samples", "scores", "kept_epoch", "train_seconds")
_EDGE = r"-?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]{1,2})?"
_WINDOW = re.compile(f"{_EDGE},{_EDGE}")
# what the digits of predictions.csv may change by more: bins, ranks, shares of a variance
_INEXACT = {"ece", "spearman", "r2", "bias"}
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ReportedRun:
    """What a page says of a run: its trainings, scores and answers at its greatest fraction.

    tests, epochs: the run's. The report speaks of one classifier: the ensemble, whose probabilities
    are the mean over the seeds. subgroups: those that the run was asked for.
    """

    run: Run
    tests: dict[float, pd.DataFrame]
    epochs: pd.DataFrame
    fractions: tuple[FractionScores, ...]  # ascending
    subgroups: tuple[Subgroup, ...] = ()

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
        """The names of the outputs, in their order: classes, findings, grades, a number."""
        return self.run.classes

    @property
    def target(self) -> Target:
        """What the run predicts."""
        return self.run.target

    @cached_property
    def task(self) -> dict[str, Any]:
        """The table that the labels are from, as config.json has it; {} for the store's labels."""
        task: dict[str, Any] = self.config.get("task", {})
        return task if "labels" in task else {}

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
        """The test samples with id, labels, group and fold, sorted by id."""
        own = self.test["seed"] == self.seeds[0]
        columns = ["id", *self.target.label_columns, "group", "fold"]
        return self.test.loc[own, columns].reset_index(drop=True)

    @cached_property
    def labels(self) -> Labels:
        """Each test sample's labels, as the target has them: (n,) below K for classes."""
        return self.target.read_labels(self.samples)

    @cached_property
    def ensemble(self) -> LabelledPredictions:
        """The test predictions of the ensemble, as of one training."""
        return read_predictions(self.target, self.test).average()

    @property
    def probabilities(self) -> Floats:
        """The ensemble's outputs for the test samples, (n, K) float32, such as probabilities."""
        probabilities: Floats = self.ensemble.probabilities[0]
        return probabilities

    @cached_property
    def answers(self) -> Ints:
        """The ensemble's class or grade for each test sample, (n,) below K."""
        return self.target.find_main_output(self.probabilities)

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
        """Images that occur more than once; without a store, those across splits alone.

        Of labels from a table, those across splits and those among the test images: the store
        knows neither its splits nor its labels.
        """
        leaks: list[dict[str, Any]] = self.run.results["leaks"]
        if self.run.task:
            tested = self._find_copies_in_test()
            if self.store is not None and self.run.results["folds"]:
                return tested  # every image was tested
            known = {name for same in leaks for name in same["ids"]}
            return [*leaks, *(same for same in tested if not known & {*same["ids"]})]
        found: list[dict[str, Any]] = self.described.get("duplicates", leaks)
        return found

    def _find_copies_in_test(self) -> list[dict[str, Any]]:
        if self.store is None:
            return []
        answers = self.run.samples[list(self.run.target.label_columns)].astype(str)
        codes = answers.groupby(list(answers), sort=False).ngroup().to_numpy()
        if self.run.target.graded:
            codes = self.run.labels
        tested = self.run.samples[["id"]].assign(label=codes, split="test")
        tested = tested.merge(self.store.samples[["id", "sha256"]], on="id")
        return [asdict(same) for same in find_duplicates(tested)]

    @property
    def groups(self) -> pd.Series:
        """The patient of every image, "" where unknown; of the test images where that is all.

        It is without a store, and where labels, and perhaps patients, are from a table.
        """
        if self.store is None or self.run.task:
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
    rows = compare_runs([first.run, *rest], first.target.metrics)
    for each in (run, *others):
        _check_means(each, rows)
        _check_ensemble(each)
    run = _renew_intervals(run)
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
            subgroups = convert(run.results.get("subgroups", []), list[Subgroup])
            _check_subgroups(subgroups, run)
        fractions = tuple(sorted(scores, key=lambda one: one.fraction))
        members = run.results["members"]
        if not any(member["fraction"] == fractions[-1].fraction for member in members):
            raise ValueError(f"{RESULTS}: members: expected those of the greatest fraction")
    return ReportedRun(run, tests, run.epochs, fractions, tuple(subgroups))


def _check_means(run: ReportedRun, rows: list[Row]) -> None:
    """Raise ConfigError where results have another mean than the predictions: a run is not whole.

    Older runs have no checksum of their results.
    """
    for scores in run.fractions:
        for row in rows:
            own = (row.run, row.fraction) == (str(run.folder), scores.fraction)
            if own and row.metric in scores.metrics and row.metric not in _INEXACT:
                _check_same(run, row.metric, scores.metrics[row.metric].mean, row.summary.mean)


def _check_ensemble(run: ReportedRun) -> None:
    """Raise ConfigError where results have another ensemble than the predictions."""
    recomputed = run.ensemble.score_trainings()
    for metric in run.target.metrics:
        if metric in run.metrics and metric not in _INEXACT:
            _check_same(run, metric, run.metrics[metric].mean, float(recomputed[metric][0]))


def _renew_intervals(run: ReportedRun) -> ReportedRun:
    """The run with intervals as they are made today, where an earlier version made others."""
    if run.results.get("intervals") == METHOD:
        return run

    def renew(scores: FractionScores) -> FractionScores:
        predictions = read_predictions(run.target, run.tests[scores.fraction])
        together = predictions.average().summarise() if scores.ensemble is not None else None
        return replace(scores, metrics=predictions.summarise(), ensemble=together)

    return replace(run, fractions=tuple(map(renew, run.fractions)))


def _check_same(run: ReportedRun, metric: str, recorded: float, recomputed: float) -> None:
    size = float(np.abs(run.labels).max()) if run.target.scaled else 1.0
    if not abs(recorded - recomputed) < _ROUNDING * max(1.0, size):
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
        needed += [(member, (*_MEMBER, f"val_{run.target.selection}")), (member["samples"], SPLITS)]
        if run.target.graded:
            needed.append((member["scores"], choose_headlines(run.target.metrics)))
    for values, names in needed:
        for name in names:
            values[name]
    identity = Identity.from_json(run.config["identity"])
    if identity.views not in VIEW_SETS.values():
        raise ValueError(f"{CONFIG}: identity.views: expected a known set of views")
    if identity.window != "auto" and not _WINDOW.fullmatch(identity.window):
        raise ValueError(f"{CONFIG}: identity.window: expected auto, or two numbers")


def _check_scores(scores: FractionScores, run: Run) -> None:
    """Raise ValueError where a fraction's scores are not those of the run's target."""
    target = run.target
    each = {f"{metric}:{name}" for metric in target.metrics_of_names for name in run.classes}
    needed = {*target.metrics, *each}
    if not target.graded:  # what some findings or constant numbers leave undefined is left out
        needed = set(choose_headlines(target.metrics))
    for found in (scores.metrics, scores.ensemble):
        if found is not None and not needed <= found.keys() <= each | set(TITLES):
            raise ValueError(
                f"fractions: expected the metrics {', '.join(sorted(target.metrics))}, …"
            )
    if scores.fraction not in run.tests:
        raise ValueError(f"fractions: expected those of {PREDICTIONS}, got {scores.fraction:g}")


def _check_subgroups(subgroups: list[Subgroup], run: Run) -> None:
    """Raise ValueError where subgroups have other metrics than the target."""
    for group in subgroups:
        if group.metrics is not None and not group.metrics.keys() <= set(run.target.metrics):
            raise ValueError(f"subgroups: expected the metrics {', '.join(run.target.metrics)}")


def _open_store(run: ReportedRun, asked: str | None) -> tuple[Store | None, dict[str, Any], str]:
    """The store, what it says of itself, and why there is none."""
    try:
        store = open_run_store(run.run, asked)
        return store, describe(store), ""
    except (StoreError, OSError) as error:
        if asked:
            raise
        return None, {}, " ".join(str(error).split())
