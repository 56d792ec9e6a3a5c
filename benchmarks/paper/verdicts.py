"""What holds and what does not: every sentence follows from the tables of results.

The targets were written down before the experiment was run, but for that of the gates alone.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from experiment import Dataset

NEEDED = 2  # data sets on which SLCA is to be above


@dataclass(frozen=True)
class Target:
    """A score on test that SLCA's mean over seeds is to reach."""

    dataset: str
    metric: str
    least: float


TARGETS = (
    Target("breastmnist", "auc", 0.92),
    Target("retinamnist", "auc", 0.77),
    Target("retinamnist", "accuracy", 0.57),
)
NAMES = {"auc": "AUC", "accuracy": "accuracy"}
OPEN = "not known yet"


def verdicts(
    scores: pd.DataFrame, differences: pd.DataFrame, datasets: tuple[Dataset, ...]
) -> list[str]:
    """The targets in order, each reached, not reached with its figure, or not known yet."""
    titles = {dataset.name: dataset.title for dataset in datasets}
    return [
        "SLCA above the backbone alone: " + _above(differences, titles, ("none",)),
        "SLCA above the backbone alone, another image's features and noise, each: "
        + _above(differences, titles, ("none", "shuffled", "random")),
        "The gates by themselves above the backbone alone: "
        + _above(differences, titles, ("none",), arm="gates"),
        *(_target(scores, target, titles) for target in TARGETS if target.dataset in titles),
    ]


def reading(row: Any) -> str:
    """What a difference's 95 % interval says."""
    if row.low > 0:
        return "ahead"
    return "behind" if row.high < 0 else "undecided"


def difference(row: Any) -> str:
    """Such as "+0.012 (-0.003 to +0.027)"."""
    if pd.isna(row.low):
        return f"{row.difference:+.3f} (no interval)"
    return f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"


def of_pair(differences: pd.DataFrame, dataset: str, arm: str, minus: str) -> pd.DataFrame:
    """The rows of one arm minus another on the full training data, a metric each."""
    wanted = (differences["dataset"] == dataset) & (differences["fraction"] == 1)
    return differences[
        wanted & (differences["arm"] == arm) & (differences["minus"] == minus)
    ].set_index("metric", drop=False)


def full_auc(differences: pd.DataFrame, dataset: str, arm: str, minus: str) -> Any:
    """One arm minus another in AUC, on the full training data; None where there is none."""
    rows = of_pair(differences, dataset, arm, minus)
    return next(rows[rows["metric"] == "auc"].itertuples(), None)


def saving(scores: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    """The least share of the training images with which SLCA is where the backbone is with all.

    By the means over seeds; empty where no shares were trained.
    """
    auc = scores[scores["metric"] == "auc"]
    means = auc.set_index(["dataset", "arm", "fraction"])["mean"]
    told = []
    for dataset in datasets:
        own = auc[(auc["dataset"] == dataset.name) & (auc["arm"] == "slca")]
        if (dataset.name, "none", 1.0) not in means.index or not (own["fraction"] < 1).any():
            continue
        all_of_them = means[dataset.name, "none", 1.0]
        enough = own[own["mean"] >= all_of_them].sort_values("fraction")
        if len(enough):
            share, mean = enough.iloc[0][["fraction", "mean"]]
            told.append(f"{dataset.title} {share:.0%} ({mean:.3f}, with all {all_of_them:.3f})")
        else:
            told.append(f"{dataset.title} no share")
    return "; ".join(told)


def _above(
    differences: pd.DataFrame, titles: dict[str, str], others: tuple[str, ...], arm: str = "slca"
) -> str:
    """Whether an arm is ahead of all of some others at once on enough data sets."""
    ahead, unknown, told = 0, 0, []
    for dataset, title in titles.items():
        rows = [full_auc(differences, dataset, arm, minus) for minus in others]
        found = [row for row in rows if row is not None]
        if all(reading(row) == "ahead" for row in found):
            ahead += len(found) == len(others)
            unknown += len(found) < len(others)
        if found:
            every = ", ".join(f"minus {row.minus} {difference(row)}" for row in found)
            told.append(f"{title} {every}")
    verdict = OPEN if ahead + unknown >= NEEDED else "not reached"
    verdict = "reached" if ahead >= NEEDED else verdict
    return f"**{verdict}** ({'; '.join(told)})" if told else f"**{verdict}**"


def _target(scores: pd.DataFrame, target: Target, titles: dict[str, str]) -> str:
    text = f"{titles[target.dataset]}, {NAMES[target.metric]} of SLCA at least {target.least:.2f}"
    wanted = (scores["dataset"] == target.dataset) & (scores["arm"] == "slca")
    wanted &= (scores["fraction"] == 1) & (scores["metric"] == target.metric)
    if not wanted.any():
        return f"{text}: **{OPEN}**"
    mean = scores.loc[wanted, "mean"].iloc[0]
    return f"{text}: **{'reached' if mean >= target.least else 'not reached'}** ({mean:.3f})"
