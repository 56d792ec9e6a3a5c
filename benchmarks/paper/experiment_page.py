"""benchmarks/experiment.md from the committed results: tables, and around them the text of page.md.

page.md holds ``{{ name }}`` where a table belongs; what was not run yet is named as such.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from experiment import ARMS, CURVES, PAIRS, Dataset, Experiment
from figures import DIFFERENCES, FRACTIONS
from record import FACTS
from verdicts import difference, full_auc, of_pair, reading, saving, verdicts

HERE = Path(__file__).parent
PAGE = HERE.parent / "experiment.md"
PICTURES = HERE.parents[1] / "docs" / "figures"  # the page and docs/results.md show them
NOT_RUN = "*Not run yet.*"
COLUMNS = {  # of each table, so that one that is not there yet is an empty one
    "choices": ("dataset", "arm", "candidate", "options", "fold", "auc", "accuracy"),
    "settings": ("dataset", "run", "command"),
    "scores": ("dataset", "arm", "fraction", "metric", "mean", "sd", "low", "high"),
    "differences": (
        "dataset",
        "arm",
        "minus",
        "fraction",
        "metric",
        "difference",
        "low",
        "high",
        "p",
    ),
}
SHOWN = {"auc": "AUC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
MEANINGS = {
    ("slca", "none"): "gates and head, minus the backbone alone",
    ("gates", "none"): "gates by themselves, minus the backbone alone",
    ("slca", "head"): "gates and head, minus the head without gates",
    ("slca", "global"): "gates and head, minus the same with gates that know no places",
}
ALT_DIFFERENCES = (
    "Differences of pairs of arms, with 95 % intervals, in AUC and accuracy on each data set; the "
    "table below holds the same figures"
)
ALT_FRACTIONS = (
    "AUC over the share of the training samples, with and without SLCA, on each data set; the "
    "table below holds the same figures"
)
FILLED = "A filled dot: the interval excludes zero. p is two-sided, and at least 1/2000."
BANDS = "Mean over seeds; bands are 95 % intervals. Both arms of a pair saw the same images."
SAVING = (
    "The least share of the training images with which SLCA's mean is at least that of the "
    "backbone alone with all of them:"
)


def page(results: Path, datasets: tuple[Dataset, ...] = Experiment.datasets) -> str:
    """The page's text from a folder of results."""
    tables = read_tables(results)
    scores, differences = tables["scores"], tables["differences"]
    path = results / FACTS
    facts = json.loads(path.read_text("utf-8")) if path.exists() else {"stores": {}}
    parts = {
        "missing": _missing(scores, datasets),
        "verdicts": _list(verdicts(scores, differences, datasets)),
        "readings": _readings(differences, datasets),
        "stores": _stores(facts, datasets),
        "choices": _choices(tables["choices"], datasets),
        "scores": _scores(scores, datasets),
        "differences": _differences(differences, datasets),
        "fractions": _fractions(scores, differences, datasets),
        "settings": _settings(tables["settings"]),
    }
    text = (HERE / "page.md").read_text("utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], text)


def read_tables(results: Path) -> dict[str, pd.DataFrame]:
    """Every table by name; one that is not there yet has no rows."""
    paths = {name: results / f"{name}.csv" for name in COLUMNS}
    return {
        name: pd.read_csv(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS[name]))
        for name, path in paths.items()
    }


def _read_table(heads: Iterable[str], rows: list[list[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else NOT_RUN


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}." for line in lines) or NOT_RUN


def _missing(scores: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    """Which arms have no scores yet, and which of the smaller shares of training images."""
    full, part = scores[scores["fraction"] == 1], scores[scores["fraction"] < 1]
    absent = []
    for dataset in datasets:
        there = set(full[full["dataset"] == dataset.name]["arm"])
        lacks = [arm for arm in ARMS if arm not in there]
        if not set(CURVES) <= set(part[part["dataset"] == dataset.name]["arm"]):
            lacks.append("fewer training images")
        if lacks:
            absent.append(f"{dataset.title} ({', '.join(lacks)})" if there else dataset.title)
    if scores.empty:
        return "**The experiment was not run yet:** what follows is its plan, with its targets."
    if absent:
        return f"**Still missing: {'; '.join(absent)}.**"
    return "All data sets were run."


def _readings(differences: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    """For each data set how SLCA stands against what it should be better than."""
    lines = []
    for dataset in datasets:
        for pair, meaning in MEANINGS.items():
            if (row := full_auc(differences, dataset.name, *pair)) is not None:
                told = f"{difference(row)}, {reading(row)}"
                lines.append(f"{dataset.title}, {meaning}: {told}")
    return _list(lines)


def _stores(facts: dict[str, Any], datasets: tuple[Dataset, ...]) -> str:
    heads = ["data set", "train", "val", "test", "classes", "same image in two splits", "store"]
    rows = []
    for dataset in datasets:
        if (store := facts["stores"].get(dataset.name)) is not None:
            counts = [str(store["samples"][name]) for name in ("train", "val", "test")]
            told = [*counts, str(len(store["classes"])), str(store["leaks"])]
            rows.append([dataset.title, *told, f"`{store['fingerprint'][:16]}`"])
    return f"{_read_table(heads, rows)}\n\n{_circumstances(facts)}" if rows else NOT_RUN


def _choices(choices: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    rows = []
    for dataset in datasets:
        own = choices[choices["dataset"] == dataset.name]
        for arm, scored in own.groupby("arm"):
            means = scored.groupby(["candidate", "options"], sort=False)["auc"].agg(
                ["mean", "std", "size"]
            )
            best = means["mean"].max()
            for (name, how), row in means.iterrows():
                mean = f"{row['mean']:.3f} ± {row['std']:.3f}"
                mean = f"**{mean}**" if row["mean"] == best else mean
                told = [f"{name}: `{how}`", f"{row['size']:.0f}", mean]
                rows.append([dataset.title, str(arm), *told])
    return _read_table(["data set", "arm", "candidate", "folds", "AUC, mean ± sd over folds"], rows)


def _scores(scores: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    rows = []
    for dataset in datasets:
        for arm in ARMS:
            full = (scores["dataset"] == dataset.name) & (scores["arm"] == arm)
            own = scores[full & (scores["fraction"] == 1)].set_index("metric")
            if len(own):
                rows.append([dataset.title, arm, *(_cell(own.loc[name]) for name in SHOWN)])
    return _read_table(["data set", "arm", *SHOWN.values()], rows)


def _cell(row: pd.Series) -> str:
    """Such as "0.912 ± 0.008 (0.860-0.951)"; what there is not is left out."""
    sd = "" if pd.isna(row["sd"]) else f" ± {row['sd']:.3f}"
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.3f}-{row['high']:.3f})"
    return f"{row['mean']:.3f}{sd}{interval}"


def _differences(differences: pd.DataFrame, datasets: tuple[Dataset, ...]) -> str:
    rows = []
    for dataset in datasets:
        for arm, minus in PAIRS:
            for row in of_pair(differences, dataset.name, arm, minus).itertuples():
                told = [SHOWN[row.metric], difference(row), f"{row.p:.4f}", reading(row)]
                rows.append([dataset.title, f"{arm} minus {minus}", *told])
    table = _read_table(["data set", "arms", "metric", "difference", "p", "the first is"], rows)
    figure = f"![{ALT_DIFFERENCES}](../docs/figures/{DIFFERENCES})"
    return f"{figure}\n\n{FILLED}\n\n{table}" if rows else table


def _fractions(
    scores: pd.DataFrame, differences: pd.DataFrame, datasets: tuple[Dataset, ...]
) -> str:
    auc = scores[scores["metric"] == "auc"]
    paired = differences[(differences["metric"] == "auc") & (differences["minus"] == "none")]
    paired = paired[paired["arm"] == "slca"]
    rows = []
    for dataset in datasets:
        own = paired[paired["dataset"] == dataset.name].sort_values("fraction")
        if not (own["fraction"] < 1).any():
            continue
        for row in own.itertuples():
            here = auc[(auc["dataset"] == dataset.name) & (auc["fraction"] == row.fraction)]
            cells = [_cell(here[here["arm"] == arm].iloc[0]) for arm in ("none", "slca")]
            told = [*cells, difference(row), reading(row)]
            rows.append([dataset.title, f"{row.fraction:g}", *told])
    heads = ["data set", "share", "AUC, none", "AUC, SLCA", "difference", "SLCA is"]
    table = _read_table(heads, rows)
    if not rows:
        return table
    reached = f"{SAVING} {saving(scores, datasets)}."
    return "\n\n".join([f"![{ALT_FRACTIONS}](../docs/figures/{FRACTIONS})", BANDS, reached, table])


def _settings(settings: pd.DataFrame) -> str:
    lines = "\n".join(settings["command"])
    return f"```text\n{lines}\n```" if lines else NOT_RUN


def _circumstances(facts: dict[str, Any]) -> str:
    machines = [
        f"{place['cores']} cores, {place['memory_GiB']} GiB, {place['gpu'] or 'no GPU'}, "
        f"Python {place['python']}"
        for place in facts["machines"]
    ]
    told = {
        ", ".join(
            [f"{name} {number}" for name, number in store["versions"].items()]
            + [f"on {store['device']} in {store['precision']}"]
        )
        for store in facts["stores"].values()
    }
    began = f"Runs were begun from {facts['first_begun']} to {facts['last_begun']}"
    return f"{began}. Machine: {'; '.join(machines)}. {'; '.join(sorted(told))}."
