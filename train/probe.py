"""``samcache probe``: fit simple classifiers to each level, without training a network."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from samcache.cache.format.layout import STATISTICS
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.data.spreads import LEAST_DEVIATION
from samcache.train.model.discriminant import Discriminant
from samcache.train.scores.bootstrap import Interval, LabelledPredictions
from samcache.train.scores.metrics import Floats, Ints, compute_macro_auc
from samcache.train.tasks.trainings import plan_trainings

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation
NEIGHBOURS = (1, 5, 11, 21, 51)
SHRINKAGES = (1e-3, 1e-2, 1e-1, 0.5, 1.0)
_MOST_CLASSES = 100  # for logistic regression, which takes hours with more


@dataclass(frozen=True)
class ProbeScores:
    """One probe of one set of features.

    chosen: C of the regression, k of the neighbours, s, the shrinkage, of LDA. level:
    a level's name for its map's means; "all": those of all levels; "+spread": those and the
    logarithms of the deviations within each map.
    """

    level: str
    probe: str
    chosen: float
    val_auc: float
    test_auc: float
    auc_interval: Interval | None
    test_accuracy: float
    accuracy_interval: Interval | None


@dataclass(frozen=True)
class ProbeResults:
    """All probes of a store."""

    dataset: str
    fingerprint: str
    majority: float  # accuracy of always naming the commonest training class
    samples: dict[str, int]
    scores: list[ProbeScores]
    remarks: tuple[str, ...] = ()  # on the samples, a line each

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def probe(store: Store) -> ProbeResults:
    """Fit every probe on train, choose it on validation AUC, read test once for the chosen ones.

    Raises ConfigError where a split or class cannot be probed, StoreError where data are damaged.
    """
    planned = plan_trainings(store, (0,))
    samples, classes, (member,) = planned.samples, planned.classes, planned.members
    rows = {
        "train": member.train.numpy(),
        "val": member.val.numpy(),
        "test": member.test.numpy(),
    }
    labels = samples["label"].to_numpy()
    features = _read_features(store, samples)
    groups = number_groups(samples)[rows["test"]]
    scores = []
    for level, values in features.items():
        for name, candidates in _list_candidates(len(rows["train"]), len(classes)).items():
            chosen, val_auc, test = _fit_and_choose(candidates, values, labels, rows)
            found = LabelledPredictions(
                labels[rows["test"]], groups, test[None], classes, ordered=False
            )
            plain, resampled = found.score_trainings(), found.score_resamples()
            cells = [
                value
                for metric in ("auc", "accuracy")
                for value in (float(plain[metric][0]), Interval.of(resampled[metric][:, 0]))
            ]
            scores.append(ProbeScores(level, name, chosen, val_auc, *cells))  # type: ignore[arg-type]
    commonest = np.bincount(labels[rows["train"]]).argmax()
    return ProbeResults(
        store.dataset.name,
        store.fingerprint,
        float((labels[rows["test"]] == commonest).mean()),
        {split: len(part) for split, part in rows.items()},
        scores,
        planned.remarks,
    )


def _read_features(store: Store, samples: pd.DataFrame) -> dict[str, Floats]:
    """What is probed, name -> (n, C) float32: each level's means, those of all, all's spreads too.

    From the store's statistics, so that no map is read.
    """
    rows = samples["row"].to_numpy()
    shards = [store.layout.find_rows(shard) for shard in sorted(store.commits)]
    kept = [rows[(rows >= start) & (rows < stop)] - start for start, stop in shards]
    parts = [store.read(STATISTICS, *shard)[own] for shard, own in zip(shards, kept, strict=True)]
    means, variances = np.concatenate(parts).swapaxes(0, 1)
    spreads = np.log(np.sqrt(variances) + LEAST_DEVIATION)
    levels = {level: means[:, place] for level, place in store.layout.channels.items()}
    return {**levels, "all": means, "+spread": np.concatenate([means, spreads], axis=1)}


def _list_candidates(train: int, classes: int) -> dict[str, dict[float, ClassifierMixin]]:
    """Probe -> its hyperparameter -> the classifier; of many classes no regression."""
    neighbours: dict[float, ClassifierMixin] = {
        k: KNeighborsClassifier(k) for k in NEIGHBOURS if k <= train
    }
    if classes > _MOST_CLASSES:
        return {"LDA": {s: Discriminant(s) for s in SHRINKAGES}, "kNN": neighbours}
    regressions = {c: LogisticRegression(C=c, max_iter=2000) for c in STRENGTHS}
    return {"logistic": regressions, "kNN": neighbours}


def _fit_and_choose(
    candidates: dict[float, ClassifierMixin],
    features: Floats,
    labels: Ints,
    rows: dict[str, Ints],
) -> tuple[float, float, Floats]:
    """The best by validation AUC, that AUC, and its probabilities for the test rows."""
    train, val, test = rows["train"], rows["val"], rows["test"]
    fitted = {}
    for value, classifier in candidates.items():
        model = make_pipeline(StandardScaler(), classifier).fit(features[train], labels[train])
        area = compute_macro_auc(labels[val], model.predict_proba(features[val]))
        fitted[value] = area, model
    chosen = max(fitted, key=lambda value: fitted[value][0])
    area, model = fitted[chosen]
    return chosen, area, model.predict_proba(features[test])
