"""Metrics of several findings at once, over those samples whose finding is known."""

import numpy as np

from samcache.train.scores.metrics import Floats, score_ranking


def score_findings(
    labels: Floats, probabilities: Floats, names: tuple[str, ...], weights: Floats
) -> dict[str, Floats]:
    """Every metric by name, (R,) float64 each, of R weightings (R, n) of n samples.

    labels: (n, K), 1, 0, or nan for unknown; probabilities: (n, K). Names: accuracy (mean over
    findings of the share on the right side of a half) and auc (macro), as MedMNIST's evaluator has
    them for several labels, ap (macro), f1 (macro), and auc:FINDING, ap:FINDING and
    prevalence:FINDING. A macro mean is over the findings that have samples of either kind; nan
    where none has.
    """
    columns = np.ascontiguousarray(weights.T)
    each: dict[str, list[Floats]] = {name: [] for name in ("accuracy", "auc", "ap", "f1")}
    own = {}
    for place, name in enumerate(names):
        known = np.isfinite(labels[:, place])
        present, chance = labels[known, place] == 1, probabilities[known, place]
        weighed = columns[known]
        with np.errstate(invalid="ignore", divide="ignore"):
            area, precision = score_ranking(present, chance, weighed)
            answered = chance >= 0.5
            right = (present == answered).astype(float) @ weighed
            both = (present & answered).astype(float) @ weighed
            either = present.astype(float) @ weighed + answered.astype(float) @ weighed
            total = weighed.sum(axis=0)
            each["accuracy"].append(right / total)
            each["f1"].append(2 * both / either)
            own[f"prevalence:{name}"] = present.astype(float) @ weighed / total
        each["auc"].append(area)
        each["ap"].append(precision)
        own[f"auc:{name}"], own[f"ap:{name}"] = area, precision
    return {name: _average_defined(np.stack(values)) for name, values in each.items()} | own


def _average_defined(values: Floats) -> Floats:
    """The mean (R,) over the lines of (K, R) that are defined; nan where none is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    mean: Floats = np.where(count, total / np.maximum(count, 1), np.nan)
    return mean
