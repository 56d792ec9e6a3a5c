"""``samcache compare``: compare runs with a baseline on the same test samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samcache.cache.errors import ConfigError
from samcache.cache.labels.units import number_groups
from samcache.train.runs.run import Run, open_run
from samcache.train.scores.bootstrap import (
    RESAMPLES,
    Interval,
    LabelledPredictions,
    Summary,
    average_over_seeds,
)
from samcache.train.scores.metrics import Floats

DEFAULT_METRICS = ("auc", "accuracy")


@dataclass(frozen=True)
class Difference:
    """A run minus the baseline in one metric; p is two-sided."""

    mean: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """One metric of one run at one fraction; the baseline has no difference."""

    run: str
    fraction: float
    metric: str
    seeds: int
    summary: Summary
    difference: Difference | None


def compare(
    folders: tuple[Path, ...], baseline: Path | None, metrics: tuple[str, ...]
) -> list[Row]:
    """Open runs and compare them with the baseline, the first run unless named.

    Raises ConfigError where a folder is no finished run, and as ``compare_runs``.
    """
    first = folders[0] if baseline is None else baseline
    others = [folder for folder in dict.fromkeys(folders) if folder.resolve() != first.resolve()]
    return compare_runs([open_run(folder) for folder in (first, *others)], metrics)


def compare_runs(runs: Sequence[Run], metrics: tuple[str, ...]) -> list[Row]:
    """Every metric of every run, and its difference to the first one, the baseline.

    Raises ConfigError where runs have other stores, test samples or seeds than the baseline, or a
    metric is not theirs.
    """
    reference, *others = runs
    reference.tests  # noqa: B018 - read in the order of the runs
    for run in others:
        _check_same(reference, run)
    return [
        row for fraction in reference.tests for row in _compare_metrics(runs, fraction, metrics)
    ]


def _compare_metrics(runs: Sequence[Run], fraction: float, metrics: tuple[str, ...]) -> list[Row]:
    scored = [_score_run(run, fraction, metrics) for run in runs]
    (plain, resampled), *_ = scored
    rows = []
    for place, metric in enumerate(metrics):
        for number, (run, (own, drawn)) in enumerate(zip(runs, scored, strict=True)):
            summary = Summary.of(own[place], drawn[place])
            pair = own[place] - plain[place], drawn[place] - resampled[place]
            difference = _describe_difference(*pair) if number else None
            rows.append(
                Row(str(run.folder), fraction, metric, len(own[place]), summary, difference)
            )
    return rows


def _score_run(run: Run, fraction: float, metrics: tuple[str, ...]) -> tuple[list[Floats], ...]:
    """For each metric the seeds' values (S,), and in every resample (R, S)."""
    test = run.tests[fraction]
    seeds = [part for _, part in test.groupby("seed")]
    columns = [f"p_{name}" for name in run.classes]
    predictions = LabelledPredictions(
        labels=seeds[0]["label"].map(run.classes.index).to_numpy(),
        groups=number_groups(seeds[0]),
        probabilities=np.stack([part[columns].to_numpy(dtype=np.float64) for part in seeds]),
        classes=run.classes,
        ordered=run.ordered,
    )
    plain = predictions.score_trainings()
    unknown = [metric for metric in metrics if metric not in plain]
    if unknown:
        names = [name for name in plain if ":" not in name]
        raise ConfigError(
            f"no metric {unknown[0]!r}: {run.folder} has {', '.join(names)}, auc:CLASS and "
            "ap:CLASS",
            hint="metric",
        )
    resampled = predictions.score_resamples()
    return [plain[metric] for metric in metrics], [resampled[metric] for metric in metrics]


def _describe_difference(plain: Floats, resampled: Floats) -> Difference:
    """From each seed's difference (S,), and in every resample (R, S).

    p is twice the share of resamples on the other side of zero, and 1 / RESAMPLES at the least
    (Efron and Tibshirani 1993, chapter 15).
    """
    values = average_over_seeds(resampled)
    defined = values[np.isfinite(values)]
    p = None
    if len(defined):
        sides = (defined <= 0).mean(), (defined >= 0).mean()
        p = min(1.0, max(2 * min(sides), 1 / RESAMPLES))
    return Difference(float(plain.mean()), Interval.of(values), p)


def _check_same(reference: Run, run: Run) -> None:
    """Raise ConfigError where two runs cannot be compared sample by sample and seed by seed."""
    both = f"{reference.folder} and {run.folder}"
    if run.read_option("fingerprint") != reference.read_option("fingerprint"):
        raise ConfigError(f"{both} were trained from stores of other features: not comparable")
    if run.classes != reference.classes or run.ordered != reference.ordered:
        raise ConfigError(f"{both} have other classes, or another order: not comparable")
    if run.read_option("folds") != reference.read_option("folds"):
        raise ConfigError(f"{both} have other folds: train both with the same", hint="folds")
    if run.tests.keys() != reference.tests.keys():
        raise ConfigError(
            f"{both} have other fractions: train both with the same", hint="fractions"
        )
    for fraction, test in run.tests.items():
        other = reference.tests[fraction]
        if set(test["seed"]) != set(other["seed"]):
            raise ConfigError(f"{both} have other seeds: train both with the same", hint="seeds")
        same = ["seed", "id", "label", "group"]
        if not np.array_equal(test[same].to_numpy(), other[same].to_numpy()):
            raise ConfigError(f"{both} have other test samples or labels: not comparable")
