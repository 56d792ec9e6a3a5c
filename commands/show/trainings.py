"""Show what train, sweep, probe, evaluate, export and report found, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from samcache.cache.text import count_are, count_nouns, describe_bytes
from samcache.commands.show.progress import show_progress
from samcache.commands.show.subgroups import describe_subgroups
from samcache.commands.show.tables import make_table
from samcache.train.scores.format import (
    choose_headlines,
    choose_shown,
    format_interval,
    format_mean,
    format_summary,
    name_metric,
    name_selection,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn
    from rich.table import Table

    from samcache.cache.progress import OnProgress
    from samcache.commands.show.tables import Part
    from samcache.train.evaluate import Evaluation
    from samcache.train.export import Exported
    from samcache.train.fit.progress import TrainingProgress
    from samcache.train.fit.training import EpochMetrics
    from samcache.train.probe import ProbeResults
    from samcache.train.probes.fit import ProbeScores
    from samcache.train.report.page import Written
    from samcache.train.runs.write_run import FractionScores, MemberScores, Results
    from samcache.train.scores.intervals import Interval, Summary
    from samcache.train.search.trials import SweepProgress, TrialsTable

_MOST_MEMBERS = 20  # with a line each; of more, the means
_MOST_TRIALS = 10
_STATES = ("finished", "cut short", "failed", "unfinished")
HYPERPARAMETERS = {"logistic": "C", "ridge": "a", "kNN": "k", "LDA": "s"}


@contextmanager
def show_training_progress(
    console: Console,
) -> Iterator[tuple[Callable[[TrainingProgress], None], OnProgress]]:
    """Give a callback that shows a bar over all epochs of a run's members, and one for a copy."""
    from rich.progress import TextColumn, TimeRemainingColumn

    after = TextColumn("{task.fields[note]}"), TimeRemainingColumn(), TextColumn("left")
    with _show_bar(console, *after) as (show, copy):

        def show_training(now: TrainingProgress) -> None:
            last = now.last
            label = "" if last is None else _name_epoch(last)
            chosen = "" if last is None else name_selection(last.selection)
            note = "" if last is None else f"validation {chosen} {last.selected:.3f}"
            show(now.done, now.total, label, note)

        yield show_training, copy


def _name_epoch(line: EpochMetrics) -> str:
    fold = "" if line.fold is None else f", fold {line.fold}"
    share = "" if line.fraction == 1 else f", {line.fraction:g} of the training rows"
    return f"seed {line.seed}{fold}{share}, epoch {line.epoch}"


@contextmanager
def show_sweep_progress(
    console: Console,
) -> Iterator[tuple[Callable[[SweepProgress], None], OnProgress]]:
    """Give a callback that shows a bar over the trials of a sweep, and one for a copy."""
    from rich.progress import TextColumn

    after = TextColumn("trials"), TextColumn("{task.fields[note]}")
    with _show_bar(console, *after) as (show, copy):

        def show_sweep(now: SweepProgress) -> None:
            metric = name_selection(now.metric)
            note = "" if now.best is None else f"best validation {metric} {now.best:.3f}"
            show(now.done, now.total, now.trial, note)

        yield show_sweep, copy


@contextmanager
def _show_bar(
    console: Console, *after: ProgressColumn
) -> Iterator[tuple[Callable[[int, int, str, str], None], OnProgress]]:
    """Give a callback that shows a bar, and one for a copy, whose bar ends where the other begins.

    An empty label or note leaves the last one.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    before = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    bar = Progress(*before, *after, console=console)
    with ExitStack() as copying:
        copy = copying.enter_context(show_progress(console, unit="bytes"))

        def show(done: int, total: int, label: str, note: str) -> None:
            if not bar.task_ids:
                copying.close()
                bar.add_task("", total=total, note="")
                bar.start()
            task = bar.tasks[0]
            bar.update(
                task.id,
                completed=done,
                total=total,
                description=label or task.description,
                note=note or task.fields["note"],
            )

        try:
            yield show, copy
        finally:
            bar.stop()


def describe_results(results: Results) -> list[Part]:
    """A line a training, then every metric with its interval, or the curve over fractions."""
    first = results.fractions[0]
    tested = f"test, {count_nouns(first.test_samples, 'sample')}"
    if results.folds:
        count = count_nouns(first.test_samples, "sample")
        tested = f"{results.folds} folds, {count}, each tested once"
    parts: list[Part] = [f"{results.dataset}: {tested}", *_list_warnings(results), ""]
    if len(results.members) <= _MOST_MEMBERS:
        parts += [_list_members(results.members), ""]
    elif results.folds:
        parts += [_list_folds(results.members), "(means over seeds)", ""]
    several = len(results.fractions) > 1
    parts += _list_fractions(results.fractions) if several else _list_metrics(first)
    parts += describe_subgroups(results.subgroups, first.metrics)
    seconds = f"{results.total_seconds:.1f} s, of which {results.load_seconds:.1f} s loading"
    return [*parts, "", seconds]


def _list_warnings(results: Results) -> list[str]:
    lines = []
    if count := results.parted_groups:
        verb = "occurs" if count == 1 else "occur"
        lines += [
            f"warning: {count_nouns(count, 'group')} (patients) {verb} in more than one split:",
            "the test may use images of patients that were in training",
        ]
    if results.leaks and not results.folds:
        count = len(results.leaks)
        verb = "occurs" if count == 1 else "occur"
        lines.append(f"warning: {count_nouns(count, 'image')} {verb} in more than one split")
    return lines


def _list_members(members: list[MemberScores]) -> Table:
    folds = members[0].fold is not None
    fractions = any(member.fraction != 1 for member in members)
    shown = choose_headlines(_list_names(members))
    heads = ["seed", *["fold"] * folds, *["fraction"] * fractions, "kept epoch"]
    heads += map(name_selection, shown)
    rows = [
        [
            member.seed,
            *[member.fold] * folds,
            *[f"{member.fraction:g}"] * fractions,
            member.kept_epoch,
            *(f"{member.scores[name]:.3f}" if name in member.scores else "-" for name in shown),
        ]
        for member in members
    ]
    return make_table(rows, heads, right=range(len(heads)))


def _list_names(members: list[MemberScores]) -> set[str]:
    """The metrics that any training has: some are not defined of some test images."""
    return {name for member in members for name in member.scores}


def _list_folds(members: list[MemberScores]) -> Table:
    rows, shown = [], choose_headlines(_list_names(members))
    for fold, fraction in dict.fromkeys((member.fold, member.fraction) for member in members):
        chosen = [m.scores for m in members if (m.fold, m.fraction) == (fold, fraction)]
        means = [f"{np.mean([s.get(name, np.nan) for s in chosen]):.3f}" for name in shown]
        rows.append([fold, f"{fraction:g}", *means])
    return make_table(rows, ["fold", "fraction", *map(name_selection, shown)], right=range(4))


def _list_metrics(scores: FractionScores) -> list[Part]:
    if scores.ensemble is not None:
        return list_each_and_ensemble(scores.metrics, scores.ensemble, "seed")
    shown, left_out = choose_shown(scores.metrics)
    rows = [
        [name_metric(name), format_mean(summary), format_interval(summary.interval)]
        for name, summary in ((name, scores.metrics[name]) for name in shown)
    ]
    return [make_table(rows, ["", "value", "95 % interval"]), *_name_left_out(left_out)]


def list_each_and_ensemble(
    each: Mapping[str, Summary], ensemble: Mapping[str, Summary], of: str
) -> list[Part]:
    """A table of every metric: the mean of several trainings' scores, and their ensemble's."""
    shown, left_out = choose_shown({name: s for name, s in each.items() if name in ensemble})
    outputs = "predictions" if "r2" in each else "probabilities"
    rows = [[name_metric(n), format_summary(each[n]), format_summary(ensemble[n])] for n in shown]
    return [
        make_table(rows, ["", f"mean over {of}s", "ensemble"]),
        *_name_left_out(left_out),
        "",
        f"mean over {of}s: mean ± sd of the {of}s' own scores (95 % interval)",
        f"ensemble: the score of the mean of the {of}s' {outputs} (95 % interval)",
    ]


def _name_left_out(count: int) -> list[str]:
    return [f"and {count} more {'class' if count == 1 else 'classes'}, with a higher AUC"] * (
        count > 0
    )


def _list_fractions(fractions: list[FractionScores]) -> list[Part]:
    shown = choose_headlines(fractions[0].metrics)
    rows = [
        [
            f"{scores.fraction:g}",
            f"{scores.train_samples:.0f}",
            *(format_summary(scores.metrics[name]) for name in shown),
        ]
        for scores in fractions
    ]
    heads = ["fraction", "train", *map(name_metric, shown)]
    several = fractions[0].metrics[shown[0]].sd is not None
    view = f"{'mean ± sd over seeds ' if several else ''}(95 % interval)"
    return [make_table(rows, heads, right=(0, 1)), "", view]


def describe_evaluation(evaluation: Evaluation) -> list[Part]:
    """Every metric of an evaluation with its intervals."""
    split = "all" if evaluation.split == "all" else f"split {evaluation.split}"
    samples = count_nouns(evaluation.samples, "sample")
    members = count_nouns(len(evaluation.members), "member")
    parts: list[Part] = [f"{evaluation.dataset}, {split}: {samples}, {members}"]
    if evaluation.left_out:
        parts.append(f"{count_are(evaluation.left_out, 'image')} left out, without features")
    if evaluation.known:
        parts.append(
            f"warning: the run used {evaluation.known} of these samples in training or validation"
        )
    tables = list_each_and_ensemble(evaluation.metrics, evaluation.ensemble, "member")
    subgroups = describe_subgroups(evaluation.subgroups, evaluation.metrics)
    return [*parts, "", *tables, *subgroups]


def describe_probe(results: ProbeResults) -> list[Part]:
    """A line a probe."""
    samples = count_nouns(results.samples["test"], "sample")
    head = f"{results.dataset}: test, {samples}"
    if results.majority is not None:
        head += f", {results.majority:.3f} of them in the commonest training class"
    first, second = map(name_selection, results.scores[0].test)
    heads = ["level", "probe", f"val {first}", f"test {first}", second]
    return [head, "", make_table(map(_list_probe, results.scores), heads, right=(2,))]


def _list_probe(scores: ProbeScores) -> list[str]:
    return [
        scores.level,
        f"{scores.probe} {HYPERPARAMETERS[scores.probe]}={scores.chosen:g}",
        f"{scores.val:.3f}",
        *(write_score(tested.value, tested.interval) for tested in scores.test.values()),
    ]


def write_score(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" + ("" if interval is None else f" ({format_interval(interval)})")


def describe_trials(found: TrialsTable) -> list[Part]:
    """The best trials of a sweep, and the command that trains and tests the best."""
    counts = found.table["state"].value_counts()
    shown = found.table.head(_MOST_TRIALS).drop(columns=["seconds"])
    rows = [[_write_cell(value) for value in row] for row in shown.itertuples(index=False)]
    numbers = [place for place, name in enumerate(shown) if shown[name].dtype.kind in "iuf"]
    parts: list[Part] = [make_table(rows, list(map(str, shown)), right=numbers), ""]
    parts.append(", ".join(f"{counts[state]} {state}" for state in _STATES if state in counts))
    if found.command is not None:
        metric = next(name for name in found.table if str(name).startswith("val_"))
        by = name_selection(str(metric).removeprefix("val_"))
        parts += [f"trials were compared by validation {by}; to train and test the best:", ""]
        parts.append(found.command)
    return parts


def _write_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.4g}"
    return "" if value is None else str(value)


def describe_exported(exported: Exported) -> str:
    """A line on an exported program."""
    tried = " and ".join(count_nouns(count, what) for what, count in exported.tried.items())
    return (
        f"{exported.path}: {', '.join(exported.members)}; on {tried} the largest difference of a "
        f"probability from predict is {exported.largest_difference:.1g}"
    )


def describe_report(written: Written) -> list[str]:
    """A line on a report, and another where examples or gates are missing."""
    problems, cautions = (written.count_findings(kind) for kind in ("problem", "caution"))
    found = f"{count_nouns(problems, 'problem')} and {count_nouns(cautions, 'caution')}"
    line = f"{written.out}: {describe_bytes(written.size)}; the checks found {found}"
    return [line, *filter(None, [written.lack])]
