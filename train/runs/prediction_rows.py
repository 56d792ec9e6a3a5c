"""Predictions for people and programs: one row an image, as CSV or JSON, written as they come."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from samcache.train.runs.csv_cells import guard_cell
from samcache.train.scores.ensemble_mean import average_members
from samcache.train.tasks.targets.base import Target

Row = dict[str, Any]
Floats32 = npt.NDArray[np.float32]

_REASONS = {"missing": "not extracted yet: finish the extraction of its store"}


@dataclass(frozen=True)
class PredictedShard:
    """Samples of one shard, and every member's probabilities for them.

    samples: n rows of ``Store.samples``. probabilities: (M, n, K) float32, the target's outputs,
    nan for images that cannot be read. pooled: level -> (r, C, h, w), the classifiers' inputs, for
    the r readable images.
    """

    samples: pd.DataFrame
    probabilities: Floats32
    pooled: dict[str, Tensor]

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Which samples have an image, (n,)."""
        return (self.samples["status"] == "ok").to_numpy()

    @property
    def mean(self) -> Floats32:
        """The ensemble's probabilities, (n, K) float32."""
        return average_members(self.probabilities)


def list_columns(target: Target, heat_maps: bool) -> list[str]:
    """The names of a row's values, in order."""
    names = ["id", "predicted", *target.output_columns, "sd", "reason"]
    return [*names, "heatmap"] if heat_maps else names


def make_rows(
    predicted: PredictedShard, target: Target, heat_maps: list[str] | None
) -> Iterator[Row]:
    """One row for every sample; values of images that cannot be read are None, but for the reason.

    ``sd`` is the sample standard deviation over members of the output that the answer follows, such
    as the predicted class's probability; None for a single member. heat_maps: each readable
    sample's file name.
    """
    names = iter(heat_maps or [])
    samples = predicted.samples
    facts = zip(samples["id"], samples["status"], samples["reason"], strict=True)
    mean, columns = predicted.mean, target.output_columns
    answers, main = target.decide(mean), target.find_main_output(mean)
    for place, (name, status, reason) in enumerate(facts):
        row: Row = dict.fromkeys(list_columns(target, heat_maps is not None))
        row["id"] = name
        if status == "ok":
            row["predicted"] = answers[place]
            row |= {name: _round(p) for name, p in zip(columns, mean[place], strict=True)}
            row["sd"] = _measure_spread(predicted.probabilities[:, place, main[place]])
            if heat_maps is not None:
                row["heatmap"] = next(names)
        else:
            row["reason"] = reason or _REASONS[status]
        yield row


def write_csv(found: Iterable[Row], names: list[str], file: IO[str]) -> int:
    """Write rows under a head of names as they come; how many have a reason."""
    failed, started = 0, _start(found)
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in started:
        writer.writerow({name: guard_cell(value) for name, value in row.items()})
        failed += row["reason"] is not None
    return failed


def write_json(
    found: Iterable[Row], head: dict[str, Any], file: IO[str], tail: Callable[[], dict[str, Any]]
) -> int:
    """Write an object of ``head``, the list ``predictions`` and ``tail``; how many have a reason.

    tail: called once all rows are written.
    """
    failed, started = 0, _start(found)
    file.write(json.dumps(head)[:-1] + ', "predictions": [')
    for number, row in enumerate(started):
        file.write((",\n" if number else "\n") + json.dumps(row, allow_nan=False))
        failed += row["reason"] is not None
    file.write("\n], " + json.dumps(tail())[1:] + "\n")
    return failed


def _start(found: Iterable[Row]) -> Iterator[Row]:
    """The same rows once the first is there: an error comes before anything is written."""
    rest = iter(found)
    return chain(list(islice(rest, 1)), rest)


def _measure_spread(values: np.ndarray[Any, Any]) -> float | None:
    return _round(values.std(ddof=1)) if len(values) > 1 else None


def _round(value: np.floating) -> float:
    """Seven digits, the precision of float32."""
    return float(f"{value:.7g}")
