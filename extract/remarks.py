"""What a training of these samples would be refused for, told before anything is encoded."""

from dataclasses import replace

import pandas as pd

from samcache.cache.labels.trainable import trainability

_WITHOUT_LIMIT = "samcache extract without --limit"


def training_remarks(
    name: str,
    samples: pd.DataFrame,
    classes: tuple[str, ...],
    split_origin: str,
    limited: bool = False,
) -> list[str]:
    """Why ``samcache train`` would refuse a table, and what looks wrong in its classes, by line.

    samples: as ``trainability`` takes it. limited: whether --limit has left images out.
    """
    found = trainability(samples, classes, split_origin)
    if limited:
        found = replace(found, ways_out=(_WITHOUT_LIMIT, *found.ways_out))
    return found.lines(name)
