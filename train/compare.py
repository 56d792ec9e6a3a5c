"""``samcache compare``: compare runs with a baseline on the same test samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.format.identity import Identity
from samcache.cache.labels.units import number_groups
from samcache.train.runs.run import Run, open_run
from samcache.train.runs.used_stores import UsedStore
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.format import choose_headlines
from samcache.train.scores.intervals import Draws, Interval, Summary, estimate
from samcache.train.scores.metrics import Floats
from samcache.train.tasks.targets.base import Target

Scored = tuple[Floats, Draws | None]  # each seed's value (S,), and how test samples move them


@dataclass(frozen=True)
class Difference:
    """A run minus the baseline in one metric; p is two-sided."""

    mean: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """One metric of one run at one fraction; the baseline has no difference.

    features: a short title of the run's features, "" where all runs have the same.
    """

    run: str
    fraction: float
    metric: str
    seeds: int
    summary: Summary
    difference: Difference | None
    features: str = ""


@dataclass(frozen=True)
class Comparison:
    """A line for each run and metric, and what a reader should know of the runs."""

    rows: list[Row]
    remarks: list[str]


def compare(
    folders: tuple[Path, ...], baseline: Path | None, metrics: tuple[str, ...] | None
) -> Comparison:
    """Open runs and compare them with the baseline, the first run unless named.

    metrics: None takes the two that a short table shows.

    Raises ConfigError where a folder is no finished run, and as ``compare_runs``.
    """
    first = folders[0] if baseline is None else baseline
    others = [folder for folder in dict.fromkeys(folders) if folder.resolve() != first.resolve()]
    runs = [open_run(folder) for folder in (first, *others)]
    if metrics is None:
        first_scores = runs[0].results["fractions"][0]["metrics"]
        metrics = tuple(reversed(choose_headlines(first_scores)))
    return Comparison(compare_runs(runs, metrics), list_differences(runs))


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
    (plain, moved), *_ = scored
    rows, titles = [], title_runs(runs)
    for place, metric in enumerate(metrics):
        for number, (run, (own, drawn)) in enumerate(zip(runs, scored, strict=True)):
            summary = Summary.of(metric, own[place], drawn[place])
            difference = None
            if number:
                pair = (own[place], drawn[place]), (plain[place], moved[place])
                difference = describe_difference(*pair)
            name, seeds, title = str(run.folder), len(own[place]), titles[number]
            rows.append(Row(name, fraction, metric, seeds, summary, difference, title))
    return rows


def _score_run(
    run: Run, fraction: float, metrics: tuple[str, ...]
) -> tuple[list[Floats], list[Draws | None]]:
    """For each metric the seeds' values (S,), and how they move with the test samples."""
    predictions = read_predictions(run.target, run.tests[fraction])
    plain = predictions.score_trainings()
    unknown = [metric for metric in metrics if metric not in plain]
    if unknown:
        names = [name for name in plain if ":" not in name]
        raise ConfigError(
            f"no metric {unknown[0]!r}: {run.folder} has {', '.join(names)}, auc:CLASS and "
            "ap:CLASS",
            hint="metric",
        )
    draws = predictions.draw_scores()
    return [plain[metric] for metric in metrics], [draws.get(metric) for metric in metrics]


def read_predictions(target: Target, test: pd.DataFrame) -> LabelledPredictions:
    """What every seed predicted for the test samples; test: a table of ``Run.tests``."""
    seeds = [part for _, part in test.groupby("seed")]
    columns = list(target.output_columns)
    return LabelledPredictions(
        labels=target.read_labels(seeds[0]),
        groups=number_groups(seeds[0]),
        # float32, as train scores and averages them
        probabilities=np.stack([part[columns].to_numpy(dtype=np.float32) for part in seeds]),
        target=target,
    )


def describe_difference(run: Scored, baseline: Scored) -> Difference:
    """A run minus the baseline, on the same test samples.

    Either: each seed's value (S,), and how they move with the test samples. Seeds of two runs are
    not paired: their spreads add up.
    """
    (own, drawn), (plain, moved) = run, baseline
    both = drawn.subtract(moved) if drawn is not None and moved is not None else None
    found = estimate(own.mean() - plain.mean(), (own, plain), both)
    if found is None:
        return Difference(float(own.mean() - plain.mean()), None, None)
    return Difference(found.mean, found.make_interval(-np.inf, np.inf), found.test_zero())


def _check_same_images(reference: Run, run: Run) -> None:
    """Raise ConfigError where runs of other features were not tested on the same images."""
    both, key = f"{reference.folder} and {run.folder}", "samples"
    for one in (reference, run):
        if key not in one.config:
            raise ConfigError(
                f"{both} were trained from stores of other features, and {one.folder} does not "
                "record its images: train it again to compare it"
            )
    if reference.config[key]["test"] != run.config[key]["test"]:
        raise ConfigError(
            f"{both} were tested on other images: extract both stores from the same source, and "
            "train with the same splits"
        )


def list_differences(runs: Sequence[Run]) -> list[str]:
    """What a reader of a comparison should know of runs of several stores, a line each."""
    if len({run.read_option("fingerprint") for run in runs}) == 1:
        return []
    lines = [f"{run.folder}: {describe_features(run)}" for run in runs]
    reference, *others = runs
    for run in others:
        parts = [
            part
            for part in ("train", "val")
            if run.config.get("samples", {}).get(part)
            != reference.config.get("samples", {}).get(part)
        ]
        if parts:
            lines.append(
                f"{run.folder} has other images in {' and '.join(parts)} than the baseline"
            )
    return lines


def describe_features(run: Run) -> str:
    """The encoder, size and levels of a run's features, such as "vit_t, 128 px, neck late"."""
    return "; ".join(map(_describe_store, run.used_stores))


def _describe_store(used: UsedStore) -> str:
    identity = used.identity
    features = f"{identity.encoder}, {identity.image_size} px, {' '.join(identity.levels)}"
    return f"{used.name}: {features}" if used.name else features


def title_runs(runs: Sequence[Run]) -> list[str]:
    """A short title of each run's features, such as "vit_t, 128 px"; "" where all have the same.

    Levels and weights are named where they are what differs.
    """
    if len({run.read_option("fingerprint") for run in runs}) == 1:
        return [""] * len(runs)
    used = [one.identity for run in runs for one in run.used_stores]
    several_levels = len({one.levels for one in used}) > 1
    sizes = {(one.encoder, one.image_size, one.levels) for one in used}
    ambiguous = len({one.weights for one in used}) > len(sizes)

    def title(identity: Identity) -> str:
        parts = [identity.encoder, f"{identity.image_size} px"]
        parts += [" ".join(identity.levels)] * several_levels
        return ", ".join([*parts, *[f"weights {identity.weights[:8]}"] * ambiguous])

    return [" and ".join(title(one.identity) for one in run.used_stores) for run in runs]


def _check_same(reference: Run, run: Run) -> None:
    """Raise ConfigError where two runs cannot be compared sample by sample and seed by seed."""
    both = f"{reference.folder} and {run.folder}"
    if run.read_option("fingerprint") != reference.read_option("fingerprint"):
        _check_same_images(reference, run)
    if not run.target.is_comparable(reference.target):
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
        same = ["seed", "id", *run.target.label_columns, "group"]
        if not np.array_equal(test[same].to_numpy(), other[same].to_numpy()):
            raise ConfigError(f"{both} have other test samples or labels: not comparable")
