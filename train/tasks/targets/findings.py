"""Several findings at once, each present, absent or unknown."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.train.scores.delong import find_influence
from samcache.train.scores.findings import score_findings
from samcache.train.tasks.targets.base import Floats, Ints, Labels, Loss, LossOptions, Target

UNKNOWN = frozenset(("", "nan", "<na>", "na", "n/a", "#n/a", "null", "nat", "?", "unknown"))
BAR = "|"  # between findings in one cell, as NIH ChestX-ray14 has them
_NOTHING = "no finding"
_MEANING = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("-1", "-1.0", *UNKNOWN), np.nan),  # CheXpert's -1 is "uncertain"
}
_RAREST = 10  # samples with the same findings, below which their set is no stratum of its own


@dataclass(frozen=True)
class Findings(Target):
    """K findings; labels (n, K) float32, 1 present, 0 absent, nan unknown; outputs probabilities.

    What is unknown is left out of loss and metrics (as CheXpert's U-Ignore, arXiv 1901.07031).
    """

    names: tuple[str, ...]

    kind = "multilabel"
    losses = ("cross-entropy",)
    selection = "auc"
    metrics = ("accuracy", "auc", "ap", "f1")
    metrics_of_names = ("auc", "ap", "prevalence")

    def activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def make_loss(self, options: LossOptions, labels: Tensor) -> Loss:
        self.check_loss(options, ("balanced_sampling", "label_smoothing"))
        if not options.class_weights:
            return BinaryCrossEntropy(None)
        present = labels.nan_to_num(0).sum(dim=0)
        absent = labels.isfinite().sum(dim=0) - present
        return BinaryCrossEntropy(absent / present.clamp(min=1))

    def validate(self, labels: Labels, outputs: Floats) -> dict[str, float]:
        scores = self.score(labels, outputs, np.ones((1, len(labels))))
        return {name: float(scores[name][0]) for name in ("accuracy", "auc")}

    def score(self, labels: Labels, outputs: Floats, weights: Floats) -> dict[str, Floats]:
        return score_findings(labels, outputs, self.names, weights)

    def find_influences(self, labels: Labels, outputs: Floats) -> dict[str, Floats]:
        """Of a sample whose finding is unknown 0; the macro AUC is of findings with both kinds."""
        each: dict[str, Floats] = {}
        for place, name in enumerate(self.names):
            known = np.isfinite(labels[:, place])
            found = np.zeros(len(labels))
            found[known] = find_influence(labels[known, place] == 1, outputs[known, place])
            each[f"auc:{name}"] = found
        defined = [found for found in each.values() if np.isfinite(found).all()]
        return {"auc": np.mean(defined, axis=0)} | each if defined else each

    def find_strata(self, labels: Labels) -> Ints:
        """Sets of findings; of a rare set, its rarest finding stands for it."""
        present = np.nan_to_num(labels).astype(bool)
        rarity = np.argsort(present.sum(axis=0), kind="stable")
        sets = np.unique(present, axis=0, return_inverse=True)[1].ravel()
        few = np.bincount(sets)[sets] < _RAREST
        rarest = present[:, rarity].argmax(axis=1)  # 0 where none is present
        codes = np.where(few, sets.max() + 1 + rarest, sets)
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)

    def find_absent(self, labels: Labels) -> tuple[str, ...]:
        """Findings without a present or without an absent sample."""
        present, absent = (labels == 1).any(axis=0), (labels == 0).any(axis=0)
        return tuple(n for n, both in zip(self.names, present & absent, strict=True) if not both)

    def count_sides(self, labels: Labels) -> tuple[int, int]:
        return int((labels == 1).sum(axis=0).min()), int((labels == 0).sum(axis=0).min())

    def encode(self, values: pd.DataFrame) -> Labels:
        """Columns of 1, 0 and unknown, or one of cells such as ``A|B`` (see ``split_cell``)."""
        if values.shape[1] == 1 and not has_signs(values):
            cells = values.iloc[:, 0].map(split_cell)
            if unknown := sorted(set().union(*cells) - set(self.names)):
                raise ConfigError(
                    f"{values.columns[0]} holds the finding {unknown[0]!r}, and the findings are "
                    f"{', '.join(self.names)}: give it one of these names",
                    hint="labels",
                )
            rows = [[name in cell for name in self.names] for cell in cells]
            return np.array(rows, dtype=np.float32)
        for name in values:
            odd = values[name][~values[name].str.lower().isin(_MEANING)]
            if len(odd):
                raise ConfigError(
                    f"{name} holds {odd.iloc[0]!r}, and a finding's column holds 1, 0, or nothing "
                    "or -1 where it is unknown: correct it, or leave the column out",
                    hint="target",
                )
        signs = values.apply(lambda column: column.str.lower().map(_MEANING))
        labels: Labels = signs.to_numpy(np.float32)
        return labels

    def find_unlabelled(self, labels: Labels) -> npt.NDArray[np.bool_]:
        return np.asarray(np.isnan(labels).all(axis=1))

    def find_main_output(self, outputs: Floats) -> Ints:
        likeliest: Ints = outputs.argmax(axis=1)
        return likeliest

    def describe_outputs(self) -> str:
        return "each finding's probability, averaged over the members"

    def decide(self, outputs: Floats) -> npt.NDArray[np.object_]:
        found = ["|".join(np.array(self.names, dtype=object)[row]) for row in outputs >= 0.5]
        return np.array(found, dtype=object)

    @property
    def label_columns(self) -> tuple[str, ...]:
        return tuple(f"label_{name}" for name in self.names)

    def write_labels(self, labels: Labels) -> dict[str, npt.NDArray[np.object_]]:
        text = np.where(np.isnan(labels), "", np.where(labels == 1, "1", "0")).astype(object)
        return dict(zip(self.label_columns, text.T, strict=True))

    def read_labels(self, table: pd.DataFrame) -> Labels:
        text = table[list(self.label_columns)].astype("string").fillna("")
        text = text.replace({"1.0": "1", "0.0": "0"})
        if not text.isin(("", "0", "1")).all(axis=None):
            raise ValueError("it holds labels that are neither 0 nor 1 nor empty")
        return text.replace("", "nan").to_numpy(dtype=np.float32)


def has_signs(values: pd.DataFrame) -> bool:
    """Whether all cells say present, absent or unknown, rather than name findings."""
    return bool(values.apply(lambda column: column.str.lower().isin(_MEANING)).all(axis=None))


def split_cell(cell: str) -> set[str]:
    """The findings of a cell such as ``A|B``; "No Finding" is none."""
    parts = (part.strip() for part in cell.split(BAR))
    return {part for part in parts if part.lower() not in ("", _NOTHING)}


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of every known finding; weight: (K,) of the present ones, or None."""

    weight: Tensor | None

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = labels.isfinite().float().expand(logits.shape)
        wanted = labels.nan_to_num(0).expand(logits.shape)
        loss = F.binary_cross_entropy_with_logits(
            logits.float(), wanted, pos_weight=self.weight, reduction="none"
        )
        return (loss * known).sum()

    def count(self, labels: Tensor) -> Tensor | int:
        return labels.isfinite().sum().clamp(min=1)
