"""What each test sample adds to a ROC AUC (DeLong, DeLong and Clarke-Pearson 1988)."""

import numpy as np
from scipy.stats import rankdata

from samcache.train.scores.metrics import Bools, Floats


def find_influence(positive: Bools, scores: Floats) -> Floats:
    """How each sample moves the AUC, (n,); nan where all are positive, or none is.

    positive, scores: (n,). The sum of squares is DeLong's variance of the AUC; squares of sums
    over a patient's samples are that of clustered data (Obuchowski 1997).
    """
    own, others = int(positive.sum()), int((~positive).sum())
    if own == 0 or others == 0:
        return np.full(len(scores), np.nan)
    ranks = rankdata(scores)
    influence = np.empty(len(scores))
    for side, count, against in ((positive, own, others), (~positive, others, own)):
        placement = (ranks[side] - rankdata(scores[side])) / against  # share of pairs below
        free = np.sqrt(count / max(count - 1, 1))
        influence[side] = (placement - placement.mean()) / count * free
    influence[~positive] *= -1
    return influence
