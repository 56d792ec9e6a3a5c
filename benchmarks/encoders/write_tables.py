"""What is finished below the work folder, as the tables that are committed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from compared_encoders import (
    BASELINE,
    DATASETS,
    METRICS,
    NO_FEATURES,
    SEEDS,
    TRAINED,
    Cell,
    list_cells,
)
from experiment import Dataset
from measure_costs import COSTS
from probe_stores import read_probed
from training import note_of

from samcache.cache.format.identity import Identity
from samcache.train.compare import Difference, compare, describe_difference
from samcache.train.runs.folder import RESULTS
from samcache.train.runs.run import open_run
from samcache.train.scores.intervals import Summary

Row = dict[str, Any]


def write_tables(work: Path, results: Path) -> None:
    """Write scores, differences, trainings, settings and costs of all that is finished."""
    cells = list_cells(among=TRAINED)
    scored = [row for dataset in DATASETS for row in _score(dataset, cells, work)]
    tables = {
        "scores": [row for row in scored if "minus" not in row],
        "differences": [row for row in scored if "minus" in row],
        "trainings": [row for cell in cells for row in _list_trainings(cell, work)],
        "settings": [row for cell in cells for row in _list_settings(cell, work)],
    }
    results.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if rows:
            table = pd.DataFrame(rows)
            table.to_csv(results / f"{name}.csv", index=False, float_format="%.6g")
    if (work / COSTS).exists():
        (results / COSTS).write_bytes((work / COSTS).read_bytes())


def _score(dataset: Dataset, cells: list[Cell], work: Path) -> Iterator[Row]:
    """Scores and differences of the encoders on a data set, by probe and by training."""
    own = [cell for cell in cells if cell.dataset == dataset]
    for reading, score in (("probe", score_probes), ("training", score_runs)):
        for cell, metric, summary, difference in score(own, work):
            place = {"dataset": dataset.name, "encoder": cell.encoder.short, "reading": reading}
            yield {**place, "metric": metric, **_list_summary(summary)}
            if difference is not None:
                minus = {"minus": BASELINE.short, "metric": metric}
                yield {**place, **minus, **_list_difference(difference)}


Scored = Iterator[tuple[Cell, str, Summary, Difference | None]]


def score_probes(cells: list[Cell], work: Path) -> Scored:
    """The probes, as ``samcache probe`` of several stores compares them."""
    probed = [
        (cell, read_probed(work / cell.probed)) for cell in cells if (work / cell.probed).exists()
    ]
    first = next((one for cell, one in probed if cell.encoder == BASELINE), None)
    for cell, one in probed:
        for metric in METRICS:
            difference = None
            if first is not None and one is not first:
                if one.ids != first.ids:
                    raise ValueError(f"{cell.store} was tested on other images")
                difference = describe_difference(one.tested[metric], first.tested[metric])
            yield cell, metric, Summary.of(metric, *one.tested[metric]), difference


def score_runs(cells: list[Cell], work: Path) -> Scored:
    """The trainings, as ``samcache compare`` compares them."""
    runs = {
        str(work / cell.training.out): cell
        for cell in cells
        if (work / cell.training.out / RESULTS).exists()
    }
    if not runs:
        return
    compared = next(iter(runs.values())).encoder == BASELINE
    for row in compare(tuple(map(Path, runs)), None, METRICS).rows:
        yield runs[row.run], row.metric, row.summary, row.difference if compared else None


def _list_summary(summary: Summary) -> Row:
    interval = summary.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"mean": summary.mean, "sd": summary.sd, "low": low, "high": high}


def _list_difference(difference: Difference) -> Row:
    interval = difference.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"difference": difference.mean, "low": low, "high": high, "p": difference.p}


def _list_trainings(cell: Cell, work: Path) -> Iterator[Row]:
    path = work / cell.training.out / RESULTS
    if path.exists():
        for member in json.loads(path.read_text("utf-8"))["members"]:
            place = {"dataset": cell.dataset.name, "encoder": cell.encoder.short}
            facts = {name: member[name] for name in ("seed", "kept_epoch", "val_auc")}
            scores = {metric: member["scores"][metric] for metric in METRICS}
            yield {**place, **facts, **scores, "train_seconds": member["train_seconds"]}


def _list_settings(cell: Cell, work: Path) -> Iterator[Row]:
    """How a cell's features were made, which probe was chosen, and the command that trained."""
    run, probed = work / cell.training.out, work / cell.probed
    if (run / RESULTS).exists():
        (used,) = open_run(run).used_stores
        note = json.loads(note_of(run).read_text("utf-8"))
        yield {
            "dataset": cell.dataset.name,
            "encoder": cell.encoder.short,
            **(_list_identity(used.identity) if cell.encoder != NO_FEATURES else {}),
            **(read_probed(probed).how if probed.exists() else {}),
            "seeds": " ".join(map(str, SEEDS)),
            "command": note["command"],
            "begun": note["begun"],
            "machine": _describe_machine(note["machine"]),
        }


def _describe_machine(facts: Row) -> str:
    gpu = facts["gpu"] or "no GPU"
    return f"{facts['cores']} CPU cores, {facts['memory_GiB']} GiB, {gpu}, Python {facts['python']}"


def _list_identity(identity: Identity) -> Row:
    facts = ("weights", "preprocessing", "image_size", "pool", "precision")
    return {name: getattr(identity, name) for name in facts}
