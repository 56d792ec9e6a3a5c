"""Why a training of some samples would be refused, reported before anything is encoded."""

from dataclasses import replace

import pandas as pd

from samcache.cache.format.description import Dataset
from samcache.cache.labels.trainable import check_trainability
from samcache.cache.progress import Remark

_WHOLE = "extract the whole source, without a limit"


def describe_training(
    name: str, samples: pd.DataFrame, dataset: Dataset, limited: bool = False
) -> list[Remark]:
    """Why ``samcache train`` would refuse samples, and what looks wrong in their classes.

    samples: as ``check_trainability`` takes them. limited: whether a limit has left images out.
    """
    found = check_trainability(samples, dataset.classes, dataset.split_origin)
    if limited and dataset.classes:
        found = replace(found, ways_out=(_WHOLE, *found.ways_out))
    refused = [Remark(f"{name} {found.explain_refusal()}", found.hint)] if found.problems else []
    return [*refused, *map(Remark, found.remarks)]
