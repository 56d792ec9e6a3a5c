"""The committed results: those of runs that are finished here are put in place of earlier ones.

All others stay, so the experiment may be finished on another machine than it was begun on. A
difference goes with either of its runs, unless both are here.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from experiment import ARMS, CURVE, PAIRS, Experiment

FACTS = "facts.json"
_FIGURES = "%.6g"
Run = tuple[str, str]  # data set, name


def record(
    name: str, rows: list[dict[str, Any]], runs: set[Run], experiment: Experiment, results: Path
) -> None:
    """Put the rows of some runs into the table of that name, in the experiment's order."""
    path = results / f"{name}.csv"
    if path.exists():
        earlier = pd.read_csv(path, keep_default_na=False, na_values=[""]).to_dict("records")
        rows = [row for row in earlier if not _runs_of(row) & runs] + rows
    datasets = [dataset.name for dataset in experiment.datasets]
    ordered = sorted(rows, key=lambda row: _place(row, datasets))
    write(pd.DataFrame(ordered), path)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table, if there is anything in it."""
    if len(table):
        table.to_csv(path, index=False, float_format=_FIGURES)


def _runs_of(row: dict[str, Any]) -> set[Run]:
    """The run that a row tells of, or the two that it compares."""
    if "run" in row:
        return {(row["dataset"], row["run"])}
    curve = CURVE if row["fraction"] < 1 else ""
    return {(row["dataset"], row[name] + curve) for name in ("arm", "minus") if name in row}


def _place(row: dict[str, Any], datasets: list[str]) -> tuple[int, bool, int]:
    """Where a row stands: by data set, full training data before shares of it, by arm or pair."""
    dataset = datasets.index(row["dataset"])
    if "minus" in row:
        return dataset, row["fraction"] < 1, PAIRS.index((row["arm"], row["minus"]))
    ((_, run),) = _runs_of(row)
    return dataset, run.endswith(CURVE), list(ARMS).index(run.removesuffix(CURVE))


def record_facts(
    stores: dict[str, dict[str, Any]], notes: list[dict[str, Any]], results: Path
) -> None:
    """Put what runs were trained from, and how they were begun, into the facts.

    stores: data set -> its store; notes: of each run its machine, and when it was begun.
    """
    path = results / FACTS
    facts: dict[str, Any] = {"stores": {}, "machines": []}
    if path.exists():
        facts = json.loads(path.read_text("utf-8"))
    dates = [note["begun"] for note in notes]
    dates += [facts[name] for name in ("first_begun", "last_begun") if name in facts]
    machines = facts["machines"] + [note["machine"] for note in notes]
    facts = {
        "stores": {**facts["stores"], **stores},
        "first_begun": min(dates),
        "last_begun": max(dates),
        "machines": [m for i, m in enumerate(machines) if m not in machines[:i]],
    }
    path.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
