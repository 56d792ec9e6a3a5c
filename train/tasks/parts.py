"""Whether findings or numbers can be trained on: what each part of a training must hold."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import quote_names
from samcache.cache.labels.trainable import LEAST_FOR_FOLDS, Trainability
from samcache.cache.labels.units import number_units
from samcache.cache.text import count_nouns
from samcache.train.tasks.targets.base import Labels, Target


def check_parts(
    samples: pd.DataFrame,
    labels: Labels,
    target: Target,
    folds: int | None,
    count_missing: bool = True,
) -> Trainability:
    """Whether n samples of a target without classes can be trained on.

    samples: columns id, split, group, sha256 and status, labels: (n, …) as the target has them.
    """
    status = samples["status"].to_numpy()
    usable = (status == "ok") | (count_missing & (status == "missing"))
    table, known = samples[usable], labels[usable]
    if folds:
        units = len(set(number_units(table)))
        needed = max(folds, LEAST_FOR_FOLDS)
        problems = [f"{count_nouns(units, 'patient or image')}, {needed} are needed"]
        problems = problems if units < needed else []
        absent = target.find_absent(known) if len(known) else target.names
        problems += [_describe_absent(absent, "the samples")] if absent else []
        ways = ("give fewer folds, or more labels",)
        return Trainability(f"in {folds} folds", tuple(problems), ways, ())
    lacking = dict(_find_lacking(table["split"].to_numpy(), known, target))
    fatal = [
        s for s in SPLITS if len(lacking[s]) == len(target.names) or (s == "train" and lacking[s])
    ]
    return Trainability(
        "by its own splits",
        tuple(_describe_absent(lacking[split], split) for split in fatal),
        ("train in folds", "give other splits", "leave the findings out that are too rare"),
        tuple(
            f"{_describe_absent(lacking[split], split)}: its metrics are not defined there"
            for split in SPLITS
            if lacking[split] and split not in fatal
        ),
        "folds splits target",
    )


def _find_lacking(
    splits: npt.NDArray[np.object_], labels: Labels, target: Target
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each split, and what it lacks."""
    for split in SPLITS:
        part = labels[splits == split]
        yield split, target.find_absent(part) if len(part) else target.names


def _describe_absent(names: tuple[str, ...], where: str) -> str:
    return f"{where} lacks samples with and without {quote_names(names)}"
