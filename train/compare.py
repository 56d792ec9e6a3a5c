"""``samcache compare``: runs beside one another and a baseline, on the same test samples."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.labels.copies import group_codes
from samcache.train.runs.csv_cells import guard_cell
from samcache.train.runs.folder import PREDICTIONS
from samcache.train.runs.read import open_files, read_tests, told_of_run
from samcache.train.scores.bootstrap import (
    RESAMPLES,
    Interval,
    Predictions,
    Summary,
    mean_over_seeds,
)
from samcache.train.scores.metrics import Floats
from samcache.train.scores.results import interval_text, mean_and_sd, title

DEFAULT_METRICS = ("auc", "accuracy")


@dataclass(frozen=True)
class Run:
    """What comparing needs of a run folder: its options and its test predictions by fraction."""

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    ordered: bool
    folds: int | None
    tests: dict[float, pd.DataFrame]  # sorted by seed and id


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


def read_run(folder: Path) -> Run:
    """Read a finished run; raises ConfigError where there is none, or it is not whole."""
    with told_of_run(folder):
        files = open_files(folder)
        config, classes = files.config, tuple(files.config["classes"])
        tests = read_tests(files.path(PREDICTIONS), classes)
        protocol = config["ordered"], config["folds"]
        return Run(str(folder), config["fingerprint"], classes, *protocol, tests)


def compare(
    folders: tuple[Path, ...], baseline: Path | None, metrics: tuple[str, ...]
) -> list[Row]:
    """Every metric of every run, and its difference to the baseline, the first run unless named.

    Raises ConfigError where runs have other stores, test samples or seeds than the baseline, or a
    metric is not theirs.
    """
    first = folders[0] if baseline is None else baseline
    others = [folder for folder in dict.fromkeys(folders) if folder.resolve() != first.resolve()]
    reference = read_run(first)
    runs = [reference]
    for folder in others:
        runs.append(read_run(folder))
        _check_same(reference, runs[-1])
    return [row for fraction in reference.tests for row in _rows(runs, fraction, metrics)]


def _rows(runs: list[Run], fraction: float, metrics: tuple[str, ...]) -> list[Row]:
    scored = [_scores(run, fraction, metrics) for run in runs]
    (plain, resampled), *_ = scored
    rows = []
    for place, metric in enumerate(metrics):
        for number, (run, (own, drawn)) in enumerate(zip(runs, scored, strict=True)):
            summary = Summary.of(own[place], drawn[place])
            pair = own[place] - plain[place], drawn[place] - resampled[place]
            difference = _difference(*pair) if number else None
            rows.append(Row(run.name, fraction, metric, len(own[place]), summary, difference))
    return rows


def _scores(run: Run, fraction: float, metrics: tuple[str, ...]) -> tuple[list[Floats], ...]:
    """For each metric the seeds' values (S,), and in every resample (R, S)."""
    test = run.tests[fraction]
    seeds = [part for _, part in test.groupby("seed")]
    columns = [f"p_{name}" for name in run.classes]
    predictions = Predictions(
        labels=seeds[0]["label"].map(run.classes.index).to_numpy(),
        groups=group_codes(seeds[0]),
        probabilities=np.stack([part[columns].to_numpy(dtype=np.float64) for part in seeds]),
        classes=run.classes,
        ordered=run.ordered,
    )
    plain = predictions.plain()
    unknown = [metric for metric in metrics if metric not in plain]
    if unknown:
        names = [name for name in plain if ":" not in name]
        raise ConfigError(
            f"--metric {unknown[0]}: {run.name} has {', '.join(names)}, auc:CLASS and ap:CLASS"
        )
    resampled = predictions.resampled()
    return [plain[metric] for metric in metrics], [resampled[metric] for metric in metrics]


def _difference(plain: Floats, resampled: Floats) -> Difference:
    """From each seed's difference (S,), and in every resample (R, S).

    p is twice the share of resamples on the other side of zero, and 1 / RESAMPLES at the least
    (Efron and Tibshirani 1993, chapter 15).
    """
    values = mean_over_seeds(resampled)
    defined = values[np.isfinite(values)]
    p = None
    if len(defined):
        sides = (defined <= 0).mean(), (defined >= 0).mean()
        p = min(1.0, max(2 * min(sides), 1 / RESAMPLES))
    return Difference(float(plain.mean()), Interval.of(values), p)


def _check_same(reference: Run, run: Run) -> None:
    """Raise ConfigError where two runs cannot be compared sample by sample and seed by seed."""
    both = f"{reference.name} and {run.name}"
    if run.fingerprint != reference.fingerprint:
        raise ConfigError(f"{both} were trained from stores of other features: not comparable")
    if run.classes != reference.classes or run.ordered != reference.ordered:
        raise ConfigError(f"{both} have other classes or --ordered: not comparable")
    if run.folds != reference.folds:
        raise ConfigError(f"{both} have other --folds: train both with the same")
    if run.tests.keys() != reference.tests.keys():
        raise ConfigError(f"{both} have other --fractions: train both with the same")
    for fraction, test in run.tests.items():
        other = reference.tests[fraction]
        if set(test["seed"]) != set(other["seed"]):
            raise ConfigError(f"{both} have other seeds: train both with the same --seeds")
        same = ["seed", "id", "label", "group"]
        if not np.array_equal(test[same].to_numpy(), other[same].to_numpy()):
            raise ConfigError(f"{both} have other test samples or labels: not comparable")


HEAD = ("run", "fraction", "metric", "mean ± sd", "95 % interval", "difference", "p")


def render(rows: list[Row], style: str) -> str:
    """The table as text, csv (full precision) or markdown."""
    if style == "csv":
        return _csv(rows)
    cells = [_cells(row) for row in rows]
    heads = list(HEAD)
    if all(row.fraction == 1 for row in rows):
        cells = [[value for place, value in enumerate(line) if place != 1] for line in cells]
        heads.pop(1)
    if style == "markdown":
        lines = [heads, ["---"] * len(heads), *cells]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    text = [
        "  ".join(f"{value:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *cells]
    ]
    return "\n".join([*text, "", _view(rows[0].seeds)])


def _view(seeds: int) -> str:
    """What the numbers of a table are of."""
    if seeds == 1:
        return "one seed; differences to the baseline are paired by test sample"
    return (
        f"mean ± sd over {seeds} seeds; differences to the baseline are paired by sample and seed"
    )


def _cells(row: Row) -> list[str]:
    difference, p = "baseline", ""
    if row.difference is not None:
        difference = f"{row.difference.mean:+.3f} ({interval_text(row.difference.interval, '+')})"
        p = "-" if row.difference.p is None else f"{row.difference.p:.3f}"
    middle = [f"{row.fraction:g}", title(row.metric), mean_and_sd(row.summary)]
    return [row.run, *middle, interval_text(row.summary.interval), difference, p]


def _csv(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ("run", "fraction", "metric", "seeds", "mean", "sd", "low", "high")
    writer.writerow([*heads, "difference", "difference_low", "difference_high", "p"])
    for row in rows:
        summary, difference = row.summary, row.difference
        values = [
            guard_cell(row.run),
            row.fraction,
            row.metric,
            row.seeds,
            summary.mean,
            summary.sd,
        ]
        values += _bounds(summary.interval)
        if difference is not None:
            values += [difference.mean, *_bounds(difference.interval), difference.p]
        writer.writerow([*values, *[None] * (len(heads) + 4 - len(values))])
    return out.getvalue().rstrip("\n")


def _bounds(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [interval.low, interval.high]
