"""What classes and grades have in common: each sample is of one name of several."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.errors import ConfigError
from samcache.train.scores.delong import find_influence
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Target


class GradedTarget(Target):
    """One name of K for each sample; labels (n,) int64 index ``names``."""

    graded = True

    def find_strata(self, labels: Labels) -> Ints:
        return labels

    def find_influences(self, labels: Labels, outputs: Floats) -> dict[str, Floats]:
        each = [find_influence(labels == k, outputs[:, k]) for k in range(len(self.names))]
        macro = each[1] if len(each) == 2 else np.mean(each, axis=0)
        return {"auc": macro} | dict(zip((f"auc:{name}" for name in self.names), each, strict=True))

    def find_absent(self, labels: Labels) -> tuple[str, ...]:
        counts = np.bincount(labels, minlength=len(self.names))
        return tuple(name for name, count in zip(self.names, counts, strict=True) if not count)

    def count_sides(self, labels: Labels) -> tuple[int, int]:
        rarest = int(np.bincount(labels, minlength=len(self.names)).min())
        return rarest, len(labels) - rarest

    def encode(self, values: pd.DataFrame) -> Labels:
        column = values.iloc[:, 0]
        if unknown := sorted(set(column) - set(self.names)):
            raise ConfigError(
                f"{column.name} holds {unknown[0]!r}, and the classes are {', '.join(self.names)}: "
                "give it one of these names, or leave these rows out",
                hint="labels",
            )
        return column.map(self.names.index).to_numpy(dtype=np.int64)

    def decide(self, outputs: Floats) -> npt.NDArray[np.object_]:
        found: npt.NDArray[np.object_] = np.array(self.names, object)[
            self.find_main_output(outputs)
        ]
        return found

    def write_labels(self, labels: Labels) -> dict[str, npt.NDArray[np.object_]]:
        return {"label": np.array(self.names, dtype=object)[labels]}

    def read_labels(self, table: pd.DataFrame) -> Labels:
        if not table["label"].isin(self.names).all():
            raise ValueError("holds labels that are none of the run's classes")
        return table["label"].map(self.names.index).to_numpy(dtype=np.int64)

    def weigh_names(self, labels: Tensor) -> Tensor:
        """(K,) weights inverse to the frequency of each name among labels (n,)."""
        frequency = torch.bincount(labels, minlength=len(self.names)) / len(labels)
        return 1 / (len(self.names) * frequency)
