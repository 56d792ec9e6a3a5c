"""How metrics move with the test samples, whole patients where they are known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from samcache.train.scores.ensemble_mean import average_members
from samcache.train.scores.intervals import Draws, Summary
from samcache.train.scores.metrics import Floats, Ints

RESAMPLES = 2000
_BLOCK = 4_000_000  # weights held at a time


class Scorer(Protocol):
    """What a target knows of predictions; labels (n,) or (n, K), outputs (n, K)."""

    def score(self, labels: Any, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        """Every metric, (R,) each, under R weightings (R, n) of the samples."""

    def find_influences(self, labels: Any, outputs: Floats) -> dict[str, Floats]:
        """How each sample moves each AUC, (n,) each; nothing of other metrics."""


@dataclass(frozen=True)
class LabelledPredictions:
    """What the same n test samples were given by S trainings that differ in their seed.

    labels: (n,) or (n, K); groups: (n,), equal within a patient; probabilities: (S, n, K), the
    outputs of ``target``.
    """

    labels: Any
    groups: Ints
    probabilities: Floats
    target: Scorer

    def compute_scores(self, weights: Floats) -> dict[str, Floats]:
        """Every metric of every training under R weightings (R, n), (R, S) each."""
        each = [self.target.score(self.labels, one, weights) for one in self.probabilities]
        return {name: np.stack([scores[name] for scores in each], axis=1) for name in each[0]}

    def score_trainings(self) -> dict[str, Floats]:
        """Every metric of every training, (S,) each."""
        ones = np.ones((1, len(self.labels)))
        return {name: values[0] for name, values in self.compute_scores(ones).items()}

    def draw_scores(self) -> dict[str, Draws]:
        """How every metric moves with the test samples: AUCs by DeLong, others by the bootstrap.

        Draws depend on ``groups`` alone: trainings on the same test samples are paired. Of a
        single group, which cannot be drawn otherwise, there are none.
        """
        codes = np.unique(self.groups, return_inverse=True)[1]
        count = int(codes.max()) + 1
        if count == 1:
            return {}
        weightings = draw_resamples(self.groups)
        blocks = [self.compute_scores(weights) for weights in weightings]
        free = count / (count - 1)
        found = {}
        for name in blocks[0]:
            values = np.concatenate([block[name] for block in blocks])
            found[name] = Draws(values, True, free, count - 1)
        single = count == len(codes)
        for name, values in self._sum_influences(codes).items():
            found[name] = Draws(values, False, 1.0 if single else free, count - 1)
        return found

    def _sum_influences(self, codes: Ints) -> dict[str, Floats]:
        """How each group moves each AUC of each training, (groups, S) each."""
        each = [self.target.find_influences(self.labels, one) for one in self.probabilities]
        summed: dict[str, Floats] = {}
        for name in each[0]:
            values: Floats = np.stack([np.bincount(codes, one[name]) for one in each], axis=1)
            if np.isfinite(values).all():
                summed[name] = values
        return summed

    def summarise(self) -> dict[str, Summary]:
        """Every metric that all trainings have, over the trainings, each scored by itself."""
        plain, draws = self.score_trainings(), self.draw_scores()
        defined = [name for name, values in plain.items() if np.isfinite(values).all()]
        return {name: Summary.of(name, plain[name], draws.get(name)) for name in defined}

    def average(self) -> "LabelledPredictions":
        """The ensemble of the trainings, as one training."""
        return replace(self, probabilities=average_members(self.probabilities)[np.newaxis])


def draw_resamples(groups: Ints) -> Iterator[Floats]:
    """Weights of n samples, (r, n) a block and RESAMPLES in all; always the same draws.

    As many groups as there are, drawn with replacement (Field and Welsh 2007, cluster bootstrap);
    not stratified, so that the classes' shares vary as they would in another test set.
    """
    rng = np.random.default_rng(0)
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    rows = max(1, _BLOCK // len(codes))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, codes].astype(np.float64)
