"""``samcache probe`` of several stores: the same probes on the same samples of each, compared."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from samcache.train.compare import Difference, describe_difference
from samcache.train.data.joined_store import JoinedStore
from samcache.train.data.open_stores import refuse_other_answers
from samcache.train.probes.fit import FittedProbe, ProbedRows, ProbeScores, read_probed_features
from samcache.train.scores.metrics import Floats, Ints
from samcache.train.tasks.options import STORE_LABELS, TaskOptions
from samcache.train.tasks.trainings import plan_trainings

ALL = "all"  # the level of all levels' means
ALL_STORES = "all stores"  # no store has this name: names have no spaces


@dataclass(frozen=True)
class ProbedStore:
    """A store whose features were probed."""

    name: str
    location: str
    fingerprint: str


@dataclass(frozen=True)
class StoreScores:
    """One probe of one store, and its test metrics minus those of the first store.

    differences: metric -> Difference, paired by sample; {} for the first store, and for levels that
    the first store lacks.
    """

    store: str  # its name; ALL_STORES for the means of all levels of all stores
    scores: ProbeScores
    differences: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, as of one store, and NAME_difference of each metric."""
        found = {f"{name}_difference": asdict(d) for name, d in self.differences.items()}
        return {"store": self.store, **self.scores.to_json(), **found}


@dataclass(frozen=True)
class StoresProbed:
    """All probes of several stores on the samples that all stores have."""

    dataset: str
    stores: tuple[ProbedStore, ...]
    majority: float | None  # accuracy of always naming the commonest training class
    samples: dict[str, int]
    scores: list[StoreScores]
    remarks: tuple[str, ...] = ()  # on the samples, a line each
    notes: tuple[str, ...] = ()  # how samples and labels were joined, a line each

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "scores": [one.to_json() for one in self.scores]}


def probe_stores(joined: JoinedStore, task: TaskOptions = STORE_LABELS) -> StoresProbed:
    """Fit the probes of ``probe`` to each store's features of the samples that all stores have.

    Raises ConfigError where stores disagree on labels or splits, and as ``probe``.
    """
    refuse_other_answers(joined, task)
    planned = plan_trainings(joined, (0,), task=task)
    probed, first = ProbedRows.of(planned), dict[tuple[str, str], FittedProbe]()
    scores = []
    for name, features in _read_each(joined, planned.question.samples["row"].to_numpy()):
        for fitted in probed.fit_probes(features):
            key = fitted.scores.level, fitted.scores.probe
            if name == joined.names[0]:
                first[key] = fitted
                differences = {}
            else:
                differences = _subtract(fitted, first[key]) if key in first else {}
            scores.append(StoreScores(name, fitted.scores, differences))
    stores = [
        ProbedStore(name, part.location, part.fingerprint)
        for name, part in zip(joined.names, joined.parts, strict=True)
    ]
    return StoresProbed(
        joined.dataset.name,
        tuple(stores),
        probed.score_majority(),
        probed.count_samples(),
        scores,
        planned.remarks,
        (joined.describe_join(), *planned.question.notes),
    )


def _read_each(joined: JoinedStore, rows: Ints) -> Iterator[tuple[str, dict[str, Floats]]]:
    """Each store's name and probed features, then ALL_STORES and the means of all their levels."""
    means = []
    for name, part, own_rows in zip(joined.names, joined.parts, joined.rows_of_parts, strict=True):
        own = own_rows[rows]
        order = np.argsort(own)
        ascending = read_probed_features(part, own[order])
        places = np.argsort(order)
        features = {level: values[places] for level, values in ascending.items()}
        means.append(features[ALL])
        yield name, features
    yield ALL_STORES, {ALL: np.concatenate(means, axis=1)}


def _subtract(fitted: FittedProbe, reference: FittedProbe) -> dict[str, Difference]:
    """Each test metric's difference on the same samples."""
    return {
        name: describe_difference(fitted.tested[name], reference.tested[name])
        for name in fitted.tested
    }
