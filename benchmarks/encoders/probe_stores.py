"""The probe of each store: chosen by folds, without the test images.

The probes are those of ``samcache probe``: logistic regression and nearest neighbours on the means
of one level, of all levels, and on means and spreads of all levels.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from choosing import untested_members
from compared_encoders import FOLDS, METRICS, Cell

from samcache.cache.store import Store
from samcache.train.probes.fit import ProbedRows, read_probed_features
from samcache.train.scores.intervals import Draws
from samcache.train.scores.metrics import Floats
from samcache.train.tasks.question import Question
from samcache.train.tasks.splits import Member
from samcache.train.tasks.trainings import plan_trainings


@dataclass(frozen=True)
class Probed:
    """The test metrics of a chosen probe, (1,) each, and how they move with the test images.

    ids: of the test samples. how: the features, the model and its parameter, its AUC on folds, and
    the accuracy of always naming the commonest training class.
    """

    ids: list[str]
    how: dict[str, Any]
    tested: dict[str, tuple[Floats, Draws | None]]


def probe_store(cell: Cell, work: Path) -> None:
    """Choose a probe, fit it to the training images, and keep its test scores, if not done."""
    path = work / cell.probed
    if path.exists():
        return
    store = Store(work / cell.store)
    planned = plan_trainings(store, (0,))
    samples = planned.question.samples
    features = read_probed_features(store, samples["row"].to_numpy())
    level, probe, auc = choose_probe(planned.question, features, untested_members(store, FOLDS))
    official = ProbedRows.of(planned)
    every = official.fit_probes({level: features[level]})
    fitted = next(one for one in every if one.scores.probe == probe)
    how = {
        "features": level,
        "probe": probe,
        "chosen": fitted.scores.chosen,
        "folds_auc": auc,
        "majority": official.score_majority(),
    }
    ids = samples["id"][planned.members[0].test.numpy()].tolist()
    _save(Probed(ids, how, fitted.tested), path)
    print(f"{path.stem}: {probe} on {level}, AUC {auc:.3f} on folds", flush=True)


def choose_probe(
    question: Question, features: dict[str, Floats], members: Sequence[Member]
) -> tuple[str, str, float]:
    """The features and the model with the highest mean AUC over held-out folds, and that AUC.

    features: name -> (n, C). members: of samples that are not test samples.
    """
    aucs = defaultdict(list)
    for member in members:
        rows = {"train": member.train, "val": member.val, "test": member.test}
        probed = ProbedRows(question, {part: row.numpy() for part, row in rows.items()})
        for fitted in probed.fit_probes(features):
            scores = fitted.scores
            aucs[scores.level, scores.probe].append(scores.test["auc"].value)
    means = {which: float(np.mean(values)) for which, values in aucs.items()}
    level, probe = max(means, key=means.__getitem__)
    return level, probe, means[level, probe]


def read_probed(path: Path) -> Probed:
    """What ``probe_store`` kept."""
    with np.load(path) as kept:
        how = json.loads(str(kept["how"]))
        tested = {metric: (kept[metric], _read_draws(kept, metric)) for metric in METRICS}
        return Probed(kept["ids"].tolist(), how, tested)


def _read_draws(kept: Any, metric: str) -> Draws:
    drawn, free, degrees = kept[f"{metric}_factors"]
    return Draws(kept[f"{metric}_draws"], bool(drawn), float(free), int(degrees))


def _save(probed: Probed, path: Path) -> None:
    """Write all of it, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for metric in METRICS:
        arrays[metric], draws = probed.tested[metric]
        if draws is None:
            raise ValueError(f"{path.stem}: its test images are of one patient")
        arrays[f"{metric}_draws"] = draws.values
        arrays[f"{metric}_factors"] = [draws.drawn, draws.free, draws.degrees]
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, ids=probed.ids, how=json.dumps(probed.how), **arrays)
    unfinished.replace(path)
