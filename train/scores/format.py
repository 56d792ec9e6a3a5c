"""Metrics in words and figures: their names, values, deviations and intervals."""

from collections.abc import Iterable, Mapping

from samcache.train.scores.intervals import Interval, Summary

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC (macro)",
    "ap": "AP (macro)",
    "f1": "F1 (macro)",
    "kappa": "quadratic kappa",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "bias": "bias",
    "r2": "R²",
    "spearman": "Spearman correlation",
    "ece": "calibration error",
    "auc:": "AUC of ",
    "ap:": "AP of ",
    "prevalence:": "prevalence of ",
}
MOST_CLASSES = 20  # whose own metrics are shown; of more, those with the lowest AUC


def name_metric(metric: str) -> str:
    """A metric's name for people, such as "AUC of melanoma"."""
    kind, colon, name = metric.partition(":")
    return TITLES[kind + colon] + name


def name_selection(metric: str) -> str:
    """The short name of the metric that chooses an epoch, such as "AUC"."""
    return name_metric(metric).removesuffix(" (macro)")


def choose_headlines(metrics: Iterable[str]) -> tuple[str, str]:
    """The two metrics that a short table shows, of those that a kind of answer has."""
    names = set(metrics)
    if {"kappa", "mae"} <= names:
        return "kappa", "mae"
    return ("mae", "r2") if "r2" in names else ("accuracy", "auc")


def choose_leading(metrics: Iterable[str]) -> tuple[str, str]:
    """The two headlines, first the metric that a gap between subgroups is told in."""
    first, second = choose_headlines(metrics)
    return (second, first) if second == "auc" else (first, second)


def choose_shown(metrics: Mapping[str, Summary]) -> tuple[list[str], int]:
    """The metrics to show, in order, and how many classes are left out: not the worst by AUC."""
    aucs = {name[4:]: summary.mean for name, summary in metrics.items() if name[:4] == "auc:"}
    worst = sorted(aucs, key=lambda name: aucs[name])[:MOST_CLASSES]
    own = {f"{kind}:{name}" for name in worst for kind in ("auc", "ap", "prevalence")}
    shown = [name for name in metrics if ":" not in name or name in own]
    return shown, len(aucs) - len(worst)


def format_mean(summary: Summary) -> str:
    """Such as "0.895 ± 0.012"; the mean alone for one seed."""
    return f"{summary.mean:.3f}" + ("" if summary.sd is None else f" ± {summary.sd:.3f}")


def format_summary(summary: Summary) -> str:
    """Such as "0.895 ± 0.012 (0.841-0.944)"."""
    return f"{format_mean(summary)} ({format_interval(summary.interval)})"


def format_p(p: float | None) -> str:
    """Such as "0.031" and "<0.001"; a dash where there is none."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_interval(interval: Interval | None, sign: str = "") -> str:
    """Such as "0.841-0.944", or "-0.130 to 0.101"; a dash where there is none.

    sign: "+" shows it of either end.
    """
    if interval is None:
        return "-"
    to = " to " if sign or interval.low < 0 else "-"
    return f"{interval.low:{sign}.3f}{to}{interval.high:{sign}.3f}"
