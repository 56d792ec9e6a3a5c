"""The committed results: what was measured now replaces the same runs' rows, all others stay.

So the experiment may be finished on another machine than it was begun on.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from experiment import ARMS, CURVE, PAIRS, Experiment

KEYS = {  # what tells a table's rows apart
    "choices": ["dataset", "arm", "candidate", "fold"],
    "settings": ["dataset", "run"],
    "scores": ["dataset", "arm", "fraction", "metric"],
    "members": ["dataset", "arm", "fraction", "seed"],
    "differences": ["dataset", "arm", "minus", "fraction", "metric"],
}
FACTS = "facts.json"
_FIGURES = "%.6g"


def record(name: str, rows: pd.DataFrame, experiment: Experiment, results: Path) -> None:
    """Put rows into the table of that name, which is kept in the experiment's order."""
    if rows.empty:
        return
    path = results / f"{name}.csv"
    if path.exists():
        earlier = pd.read_csv(path, keep_default_na=False, na_values=[""])
        rows = pd.concat([earlier, rows]).drop_duplicates(KEYS[name], keep="last")
    datasets = [dataset.name for dataset in experiment.datasets]
    places = [_place(row, datasets) for row in rows.to_dict("records")]
    order = sorted(range(len(rows)), key=places.__getitem__)
    rows.iloc[order].to_csv(path, index=False, float_format=_FIGURES)


def _place(row: dict[str, Any], datasets: list[str]) -> tuple[int, bool, int]:
    """Where a row stands: by data set, full training data before shares of it, by arm or pair."""
    dataset = datasets.index(row["dataset"])
    if "minus" in row:
        return dataset, row["fraction"] < 1, PAIRS.index((row["arm"], row["minus"]))
    run = str(row.get("run", row.get("arm")))
    curve = run.endswith(CURVE) or row.get("fraction", 1) < 1
    return dataset, curve, list(ARMS).index(run.removesuffix(CURVE))


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
