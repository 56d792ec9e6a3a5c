"""Linear discriminant analysis in closed form: its time hardly grows with the number of classes."""

from typing import Self

import numpy as np
from scipy.linalg import solve
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from samcache.train.scores.metrics import Floats, Ints


class Discriminant(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One covariance for all classes, shrunk towards a multiple of the identity (Friedman 1989).

    shrinkage: in (0, 1], the identity's part. scikit-learn's LinearDiscriminantAnalysis has the
    same model, and a covariance matrix for each class while it fits.
    """

    def __init__(self, shrinkage: float) -> None:
        self.shrinkage = shrinkage

    def fit(self, features: Floats, labels: Ints) -> Self:
        """Fit features (n, d) with labels (n,); every label that occurs is a class."""
        self.classes_, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        order = np.argsort(codes, kind="stable")
        starts = np.cumsum(sizes) - sizes
        means = np.add.reduceat(features[order], starts, axis=0) / sizes[:, None]
        means = means.astype(features.dtype)
        inner = features - means[codes]
        covariance = inner.T @ inner / len(features)
        scale = float(np.trace(covariance)) / len(covariance)
        covariance *= 1 - self.shrinkage
        covariance.flat[:: len(covariance) + 1] += self.shrinkage * scale + 1e-6
        self.coef_ = solve(covariance, means.T, assume_a="pos", overwrite_a=True)  # d, K
        self.intercept_ = np.log(sizes / len(labels)) - (means.T * self.coef_).sum(axis=0) / 2
        return self

    def predict_proba(self, features: Floats) -> Floats:
        """Probabilities (n, K) of features (n, d)."""
        probabilities: Floats = softmax(features @ self.coef_ + self.intercept_, axis=1)
        return probabilities
