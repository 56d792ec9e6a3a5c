"""``samcache probe``: fit simple models to each level, without training a network."""

from dataclasses import asdict, dataclass
from typing import Any

from samcache.cache.store import Store
from samcache.train.probes.fit import ProbedRows, ProbeScores, read_probed_features
from samcache.train.tasks.options import STORE_LABELS, TaskOptions
from samcache.train.tasks.trainings import plan_trainings


@dataclass(frozen=True)
class ProbeResults:
    """All probes of a store."""

    dataset: str
    fingerprint: str
    majority: float | None  # accuracy of always naming the commonest training class
    samples: dict[str, int]
    scores: list[ProbeScores]
    remarks: tuple[str, ...] = ()  # on the samples, a line each
    notes: tuple[str, ...] = ()  # how the labels were found, a line each

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        values = {**asdict(self), "scores": [one.to_json() for one in self.scores]}
        if not self.notes:
            del values["notes"]
        return values


def probe(store: Store, task: TaskOptions = STORE_LABELS) -> ProbeResults:
    """Fit every probe on train, choose it on validation AUC, read test once for the chosen ones.

    Raises ConfigError where a split or class cannot be probed, StoreError where data are damaged.
    """
    planned = plan_trainings(store, (0,), task=task)
    probed = ProbedRows.of(planned)
    features = read_probed_features(store, planned.question.samples["row"].to_numpy())
    return ProbeResults(
        store.dataset.name,
        store.fingerprint,
        probed.score_majority(),
        probed.count_samples(),
        [one.scores for one in probed.fit_probes(features)],
        planned.remarks,
        planned.question.notes,
    )
