"""Fit probes to features, and score them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from samcache.cache.format.layout import STATISTICS
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.data.spreads import LEAST_DEVIATION
from samcache.train.probes.models import list_probes
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.format import choose_headlines
from samcache.train.scores.intervals import Draws, Interval, Summary
from samcache.train.scores.metrics import Floats, Ints
from samcache.train.tasks.question import Question
from samcache.train.tasks.targets.base import Labels, Target
from samcache.train.tasks.trainings import Trainings


@dataclass(frozen=True)
class Tested:
    """A metric of the test rows, with its interval over them."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class ProbeScores:
    """One probe of one set of features.

    chosen: C of the regression, a of ridge, k of the neighbours, s, the shrinkage, of LDA. level:
    a level's name for its map's means; "all": those of all levels; "+spread": those and the
    logarithms of the deviations within each map.
    """

    level: str
    probe: str
    chosen: float
    val: float  # of the metric that chooses, the first of ``test``
    test: dict[str, Tested]  # the two metrics that a short table shows

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values: val_NAME, and test_NAME and NAME_interval of each metric."""
        line: dict[str, Any] = {"level": self.level, "probe": self.probe, "chosen": self.chosen}
        line[f"val_{next(iter(self.test))}"] = self.val
        for name, tested in self.test.items():
            interval = asdict(tested.interval) if tested.interval else None
            line |= {f"test_{name}": tested.value, f"{name}_interval": interval}
        return line


@dataclass(frozen=True)
class FittedProbe:
    """A probe's scores, and its test metrics: (1,) each, and how test samples move them."""

    scores: ProbeScores
    tested: dict[str, tuple[Floats, Draws | None]]


@dataclass(frozen=True)
class ProbedRows:
    """A question to n samples, and the rows of train, val and test."""

    question: Question
    rows: dict[str, Ints]

    @classmethod
    def of(cls, planned: Trainings) -> "ProbedRows":
        """The rows of the one training that is planned."""
        (member,) = planned.members
        parts = {"train": member.train, "val": member.val, "test": member.test}
        return cls(planned.question, {split: part.numpy() for split, part in parts.items()})

    def count_samples(self) -> dict[str, int]:
        """Split -> its samples."""
        return {split: len(part) for split, part in self.rows.items()}

    def score_majority(self) -> float | None:
        """The accuracy of always naming the commonest training class; None without classes."""
        if not self.question.target.graded:
            return None
        labels, rows = self.question.labels, self.rows
        commonest = np.bincount(labels[rows["train"]]).argmax()
        return float((labels[rows["test"]] == commonest).mean())

    def fit_probes(self, features: dict[str, Floats]) -> Iterator[FittedProbe]:
        """Every probe of every set of features (n, C), chosen on validation."""
        target, labels, rows = self.question.target, self.question.labels, self.rows
        groups = number_groups(self.question.samples)[rows["test"]]
        for level, values in features.items():
            scaled = StandardScaler().fit(values[rows["train"]]).transform(values)
            probes = list_probes(target.kind, len(target.names), len(rows["train"]))
            for name, candidates in probes.items():
                chosen, val, test = _fit_and_choose(target, candidates, scaled, labels, rows)
                found = LabelledPredictions(labels[rows["test"]], groups, test[None], target)
                plain, draws = found.score_trainings(), found.draw_scores()
                names = sorted(choose_headlines(plain), key=lambda n: n != target.selection)
                summaries = {n: Summary.of(n, plain[n], draws.get(n)) for n in names}
                tested = {n: Tested(each.mean, each.interval) for n, each in summaries.items()}
                scores = ProbeScores(level, name, chosen, val, tested)
                yield FittedProbe(scores, {n: (plain[n], draws.get(n)) for n in names})


def read_probed_features(store: Store, rows: Ints) -> dict[str, Floats]:
    """What is probed, name -> (n, C) float32: each level's means, those of all, all's spreads too.

    From the store's statistics, so that no map is read. rows: (n,) of the arrays, ascending.
    """
    shards = [store.layout.find_rows(shard) for shard in sorted(store.commits)]
    kept = [rows[(rows >= start) & (rows < stop)] - start for start, stop in shards]
    parts = [store.read(STATISTICS, *shard)[own] for shard, own in zip(shards, kept, strict=True)]
    means, variances = np.concatenate(parts).swapaxes(0, 1)
    spreads = np.log(np.sqrt(variances) + LEAST_DEVIATION)
    levels = {level: means[:, place] for level, place in store.layout.channels.items()}
    return {**levels, "all": means, "+spread": np.concatenate([means, spreads], axis=1)}


def _fit_and_choose(
    target: Target,
    candidates: dict[float, Any],
    features: Floats,
    labels: Labels,
    rows: dict[str, Ints],
) -> tuple[float, float, Floats]:
    """The best on validation, its metric there, and its outputs for the test rows.

    features: (n, C), standardised by the training rows.
    """
    train, val, test = rows["train"], rows["val"], rows["test"]
    fitted = {}
    for value, model in candidates.items():
        model.fit(features[train], labels[train])
        scores = target.validate(labels[val], model.predict_proba(features[val]))
        fitted[value] = scores, model
    chosen = max(fitted, key=lambda value: target.rank_epoch(fitted[value][0], 0.0))
    scores, model = fitted[chosen]
    return chosen, scores[target.selection], model.predict_proba(features[test])
