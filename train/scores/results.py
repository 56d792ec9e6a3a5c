"""The results of a run as text for the terminal, 80 columns wide."""

from collections.abc import Mapping

import numpy as np

from samcache.train.runs.write import FractionScores, MemberScores, Results
from samcache.train.scores.bootstrap import Interval, Summary

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC (macro)",
    "f1": "F1 (macro)",
    "kappa": "quadratic kappa",
    "ece": "calibration error",
    "auc:": "AUC of ",
    "ap:": "AP of ",
}
_MOST_LINES = 20  # of single trainings; beyond, their means say it
MOST_CLASSES = 20  # whose own metrics are shown; of more, the worst


def title(metric: str) -> str:
    """A metric's name for people, such as "AUC of melanoma"."""
    kind, colon, name = metric.partition(":")
    return TITLES[kind + colon] + name


def shown_metrics(metrics: Mapping[str, Summary]) -> tuple[list[str], int]:
    """The metrics to show, in order, and how many classes are left out: not the worst by AUC."""
    aucs = {name[4:]: summary.mean for name, summary in metrics.items() if name[:4] == "auc:"}
    worst = sorted(aucs, key=lambda name: aucs[name])[:MOST_CLASSES]
    own = {f"{kind}:{name}" for name in worst for kind in ("auc", "ap")}
    shown = [name for name in metrics if ":" not in name or name in own]
    return shown, len(aucs) - len(worst)


def _more(left_out: int) -> list[str]:
    """What is said of classes that are left out."""
    return [f"and {left_out} more classes, with a higher AUC"] if left_out else []


def mean_and_sd(summary: Summary) -> str:
    """Such as "0.895 ± 0.012"; the mean alone for one seed."""
    return f"{summary.mean:.3f}" + ("" if summary.sd is None else f" ± {summary.sd:.3f}")


def summary_text(summary: Summary) -> str:
    """Such as "0.895 ± 0.012 (0.841-0.944)"."""
    return f"{mean_and_sd(summary)} ({interval_text(summary.interval)})"


def text(results: Results) -> str:
    """A line a training, then every metric with its interval, or the curve over fractions."""
    first = results.fractions[0]
    tested = f"test, {first.test_samples} samples"
    if results.folds:
        tested = f"{results.folds} folds, {first.test_samples} samples, each tested once"
    blocks = [[f"{results.dataset}: {tested}"]]
    if results.parted_groups:
        blocks[0].append(
            f"warning: {results.parted_groups} groups (patients) stand in more than one split:"
        )
        blocks[0].append("what was learned of them is asked again in the test")
    if results.leaks and not results.folds:
        verb = "image occurs" if len(results.leaks) == 1 else "images occur"
        blocks[0].append(f"warning: {len(results.leaks)} {verb} in more than one split")
    if len(results.members) <= _MOST_LINES:
        blocks.append(_members(results.members))
    elif results.folds:
        blocks.append(_folds(results.members))
    blocks.append(_curve(results.fractions) if len(results.fractions) > 1 else _metrics(first))
    blocks.append([f"{results.total_seconds:.1f} s, of which {results.load_seconds:.1f} s loading"])
    return "\n\n".join("\n".join(block) for block in blocks)


def _members(members: list[MemberScores]) -> list[str]:
    fractions = any(member.fraction != 1 for member in members)
    head = "seed  fold  " if members[0].fold is not None else "seed  "
    lines = [f"{head}{'fraction  ' if fractions else ''}kept epoch  accuracy    AUC"]
    for member in members:
        fold = "" if member.fold is None else f"{member.fold:>4}  "
        fraction = f"{member.fraction:>8g}  " if fractions else ""
        scores = f"{member.scores['accuracy']:>8.3f}  {member.scores['auc']:.3f}"
        lines.append(f"{member.seed:>4}  {fold}{fraction}{member.kept_epoch:>10}  {scores}")
    return lines


def _folds(members: list[MemberScores]) -> list[str]:
    lines = ["fold  fraction  accuracy    AUC   (means over seeds)"]
    for fold, fraction in dict.fromkeys((member.fold, member.fraction) for member in members):
        chosen = [m.scores for m in members if (m.fold, m.fraction) == (fold, fraction)]
        accuracy, auc = (np.mean([s[name] for s in chosen]) for name in ("accuracy", "auc"))
        lines.append(f"{fold:>4}  {fraction:>8g}  {accuracy:>8.3f}  {auc:.3f}")
    return lines


def _metrics(scores: FractionScores) -> list[str]:
    if scores.ensemble is not None:
        return each_and_together(scores.metrics, scores.ensemble, "seed")
    shown, left_out = shown_metrics(scores.metrics)
    width = max(len(title(name)) for name in shown)
    lines = [f"{'':<{width}}  {'value':<14}  95 % interval"]
    for name in shown:
        value, interval = mean_and_sd(scores.metrics[name]), scores.metrics[name].interval
        lines.append(f"{title(name):<{width}}  {value:<14}  {interval_text(interval)}")
    return lines + _more(left_out)


def each_and_together(
    each: Mapping[str, Summary], together: Mapping[str, Summary], of: str
) -> list[str]:
    """A table of every metric: the mean of several trainings' scores, and their ensemble's."""
    shown, left_out = shown_metrics(each)
    rows = [(title(n), summary_text(each[n]), summary_text(together[n])) for n in shown]
    head = ("", f"mean over {of}s", "ensemble")
    name, own, _ = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    lines = [f"{row[0]:<{name}}  {row[1]:<{own}}  {row[2]}" for row in (head, *rows)]
    return [*lines, *_more(left_out), "", *_views(of)]


def _views(of: str) -> list[str]:
    """What the two columns of a table are."""
    return [
        f"mean over {of}s: mean ± sd of the {of}s' own scores (95 % interval)",
        f"ensemble: the score of the mean of the {of}s' probabilities (95 % interval)",
    ]


def _curve(fractions: list[FractionScores]) -> list[str]:
    lines = [f"{'fraction':>8}  {'train':>6}  {'accuracy':<31}AUC (macro)"]
    for scores in fractions:
        cells = [summary_text(scores.metrics[name]) for name in ("accuracy", "auc")]
        samples = f"{scores.train_samples:.0f}"
        lines.append(f"{scores.fraction:>8g}  {samples:>6}  {cells[0]:<31}{cells[1]}")
    several = fractions[0].metrics["auc"].sd is not None
    return [*lines, "", f"{'mean ± sd over seeds ' if several else ''}(95 % interval)"]


def interval_text(interval: Interval | None, sign: str = "") -> str:
    """Such as "0.841-0.944", or "-0.130 to 0.101"; a dash where there is none.

    sign: "+" shows it of either end.
    """
    if interval is None:
        return "-"
    to = " to " if sign or interval.low < 0 else "-"
    return f"{interval.low:{sign}.3f}{to}{interval.high:{sign}.3f}"
