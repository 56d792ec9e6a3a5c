"""The simple models that a probe fits, for each kind of answer."""

from typing import Any, Protocol, Self

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from samcache.train.model.discriminant import Discriminant
from samcache.train.scores.metrics import Floats

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)  # of ridge regression
NEIGHBOURS = (1, 5, 11, 21, 51)
SHRINKAGES = (1e-3, 1e-2, 1e-1, 0.5, 1.0)
MOST_CLASSES = 100  # for logistic regression, which takes hours with more

Candidates = dict[str, dict[float, Any]]  # probe -> its hyperparameter -> the model


class Probe(Protocol):
    """A model from features (n, d) and labels to a target's outputs (n, K)."""

    def fit(self, features: Floats, labels: Any) -> Self:
        """Learn from n samples."""

    def predict_proba(self, features: Floats) -> Floats:
        """Outputs (n, K)."""


def list_probes(kind: str, names: int, train: int) -> Candidates:
    """The probes of a kind of answer with so many names, for so many training samples."""
    if kind == "number":
        return _list_regressors(train)
    if kind == "multilabel":
        return {"logistic": {c: EachFinding(_regression(c)) for c in STRENGTHS}}
    neighbours: dict[float, Any] = {k: KNeighborsClassifier(k) for k in NEIGHBOURS if k <= train}
    if names > MOST_CLASSES:
        return {"LDA": {s: Discriminant(s) for s in SHRINKAGES}, "kNN": neighbours}
    return {"logistic": {c: _regression(c) for c in STRENGTHS}, "kNN": neighbours}


def _list_regressors(train: int) -> Candidates:
    near: dict[float, Any] = {k: AsOutput(KNeighborsRegressor(k)) for k in NEIGHBOURS if k <= train}
    return {"ridge": {a: AsOutput(Ridge(a)) for a in PENALTIES}, "kNN": near}


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000)


class AsOutput:
    """A regressor whose prediction is an output (n, 1)."""

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, features: Floats, labels: Floats) -> Self:
        """Fit numbers (n,)."""
        self.regressor.fit(features, labels)
        return self

    def predict_proba(self, features: Floats) -> Floats:
        """Numbers (n, 1)."""
        found: Floats = self.regressor.predict(features)[:, None]
        return found


class EachFinding:
    """One binary classifier for each finding, fitted where the finding is known."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, features: Floats, labels: Floats) -> Self:
        """Fit findings (n, K), nan where unknown."""
        self.fitted_ = []
        for column in labels.T:
            known = np.isfinite(column)
            self.fitted_.append(clone(self.classifier).fit(features[known], column[known] == 1))
        return self

    def predict_proba(self, features: Floats) -> Floats:
        """Probabilities (n, K)."""
        return np.stack([one.predict_proba(features)[:, 1] for one in self.fitted_], axis=1)
