"""Part 4: what the finished runs say, as tables that are committed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from choosing import CHOICES, scores
from experiment import CURVE, PAIRS, RUNS, Dataset, Experiment, options
from record import record, record_facts, write
from training import note_of

from samcache.train.compare import compare
from samcache.train.runs.folder import RESULTS

OF_MEMBERS = ("auc", "accuracy", "balanced_accuracy", "f1", "ece")
NESTED = ("samples", "scores", "fold")  # of a member: told apart, and no folds here


def write_tables(experiment: Experiment, work: Path, results: Path) -> None:
    """Record choices, settings, scores, members, differences and facts of what is finished."""
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("settings", "scores", "members", "differences")
    }
    stores, notes, recorded = {}, [], set()
    for dataset in experiment.datasets:
        runs = finished(work / "runs" / dataset.name)
        tables["differences"] += _differences(dataset, runs)
        for name, run in runs.items():
            found = json.loads((run / RESULTS).read_text("utf-8"))
            notes.append(json.loads(note_of(run).read_text("utf-8")))
            recorded.add((dataset.name, name))
            who = {"dataset": dataset.name, "arm": name.removesuffix(CURVE)}
            tables["settings"].append(
                {"dataset": dataset.name, "run": name, "command": notes[-1]["command"]}
            )
            tables["scores"] += _scores(who, found)
            tables["members"] += _members(who, found)
            if not name.endswith(CURVE):
                stores[dataset.name] = _store(run, found)
    results.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        record(name, rows, recorded, experiment, results)
    write(_choices(experiment, (results, work)), results / CHOICES)
    if notes:
        record_facts(stores, notes, results)


def _choices(experiment: Experiment, folders: tuple[Path, ...]) -> pd.DataFrame:
    """Every fold of the candidates as they stand now, as the last folder has it."""
    known = pd.concat(
        scores(folder, dataset, arm, name, options(experiment.setting(dataset, arm, name)))
        for dataset in experiment.datasets
        for arm, candidates in experiment.candidates.items()
        for name in candidates
        for folder in folders
    )
    return known.drop_duplicates(["dataset", "arm", "candidate", "fold"], keep="last")


def finished(folder: Path) -> dict[str, Path]:
    """The finished runs of a data set by name, in the experiment's order."""
    return {name: folder / name for name in RUNS if (folder / name / RESULTS).exists()}


def _scores(who: dict[str, str], found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for part in found["fractions"]:
        for metric, value in part["metrics"].items():
            place = {**who, "fraction": part["fraction"], "metric": metric}
            interval = value["interval"] or {"low": None, "high": None}
            bounds = {name: interval[name] for name in ("low", "high")}
            rows.append({**place, "mean": value["mean"], "sd": value["sd"], **bounds})
    return rows


def _members(who: dict[str, str], found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **who,
            **{name: value for name, value in member.items() if name not in NESTED},
            **{name: member["scores"][name] for name in OF_MEMBERS},
            "train_samples": member["samples"]["train"],
        }
        for member in found["members"]
    ]


def _differences(dataset: Dataset, runs: dict[str, Path]) -> list[dict[str, Any]]:
    """Every pair of arms, on all training data and on shares of it."""
    return [
        {"dataset": dataset.name, "arm": arm, "minus": minus, **row}
        for arm, minus in PAIRS
        for curve in ("", CURVE)
        if {arm + curve, minus + curve} <= set(runs)
        for row in _paired(runs[arm + curve], runs[minus + curve])
    ]


def _paired(run: Path, baseline: Path) -> Iterator[dict[str, Any]]:
    """A run minus another, as ``samcache compare`` has it."""
    for row in compare((baseline, run), None, ("auc", "accuracy")).rows:
        if (found := row.difference) is not None:
            interval = found.interval
            low, high = (interval.low, interval.high) if interval else (None, None)
            figures = {"difference": found.mean, "low": low, "high": high, "p": found.p}
            yield {"fraction": row.fraction, "metric": row.metric, **figures}


def _store(run: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What the runs of a data set were trained from."""
    config = json.loads((run / "config.json").read_text("utf-8"))
    return {
        "fingerprint": found["fingerprint"],
        "encoder": config["identity"]["encoder"],
        "image_size": config["identity"]["image_size"],
        "pool": config["identity"]["pool"],
        "classes": found["classes"],
        "samples": found["members"][0]["samples"],
        "unreadable": found["unreadable"],
        "leaks": len(found["leaks"]),
        "versions": config["versions"],
        "device": config["device"],
        "precision": config["precision"],
    }
