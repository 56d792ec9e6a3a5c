"""``samcache evaluate``: test a run on another store, with the intervals that train computes."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.whole_file import replace_file, write_json
from samcache.cache.labels.classes import list_used_classes
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.predict import predict_store
from samcache.train.runs.csv_cells import guard_cells
from samcache.train.runs.ensemble import load_ensemble
from samcache.train.runs.folder import PREDICTIONS
from samcache.train.runs.run import Run
from samcache.train.scores.bootstrap import LabelledPredictions, Summary
from samcache.train.scores.metrics import Floats, Ints


@dataclass(frozen=True)
class Evaluation:
    """The content of evaluation.json: each metric of the members, and of their mean."""

    run: str
    dataset: str
    fingerprint: str  # of the store
    split: str  # "all" where every sample counts
    samples: int
    left_out: int  # unreadable, or not extracted yet
    known: int  # of the samples, by their images' hashes, what the run has learned from
    classes: tuple[str, ...]
    members: tuple[str, ...]
    metrics: dict[str, Summary]  # over members
    ensemble: dict[str, Summary]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def evaluate(run: Run, store: Store, split: str, device: str) -> tuple[Evaluation, pd.DataFrame]:
    """Test a run's members and their mean on a split of a store, or on "all" of it.

    The second is the content of predictions.csv: id, split, group, label, predicted and the mean's
    ``p_CLASS``, a line a sample. Raises ConfigError where classes are not the run's, or one of them
    has no sample, or the run does not record what it has seen.
    """
    order, seen = _find_label_order(run, store), run.seen
    ensemble = load_ensemble(run, device)
    found = predict_store(run, ensemble, store, None if split == "all" else split)
    parts = [replace(part, pooled={}) for part in found]  # the maps of all would fill the memory
    tables = [part.samples[part.readable] for part in parts]
    samples = pd.concat(tables, ignore_index=True) if tables else store.samples.iloc[:0]
    labels = order[samples["label"].to_numpy(dtype=np.int64)]
    _check_classes(run, store, split, labels)
    each = np.concatenate([part.probabilities[:, part.readable] for part in parts], axis=1)
    groups = number_groups(samples)
    predictions = LabelledPredictions(labels, groups, each, run.classes, run.ordered)
    together = predictions.average()
    evaluation = Evaluation(
        run=run.folder.name,
        dataset=store.dataset.name,
        fingerprint=store.fingerprint,
        split=split,
        samples=len(samples),
        left_out=sum(int((~part.readable).sum()) for part in parts),
        known=int(samples["sha256"].isin(seen).sum()),
        classes=run.classes,
        members=ensemble.names,
        metrics=predictions.summarise(),
        ensemble=together.summarise(),
    )
    return evaluation, _make_table(run, samples, labels, together.probabilities[0])


def open_evaluation_folder(folder: Path) -> None:
    """Make the folder before any work; raises ConfigError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): give another folder", hint="out"
        ) from None


def write_evaluation(folder: Path, evaluation: Evaluation, predictions: pd.DataFrame) -> None:
    """Write predictions.csv and, last, evaluation.json."""
    with replace_file(folder / PREDICTIONS) as part:
        guard_cells(predictions).to_csv(part, index=False)
    write_json(folder / "evaluation.json", evaluation.to_json())


def _find_label_order(run: Run, store: Store) -> Ints:
    """For each label of the store the run's label of the same class."""
    used = list_used_classes(store.table, store.dataset.classes)
    unknown = [name for name in used if name not in run.classes]
    if unknown:
        raise ConfigError(
            f"{store.location} has the class {unknown[0]!r}, which {run.folder} does not know: it "
            f"knows {', '.join(run.classes)}; extract with the same names"
        )
    numbers = [run.classes.index(n) if n in used else -1 for n in store.dataset.classes]
    return np.array(numbers, dtype=np.int64)


def _check_classes(run: Run, store: Store, split: str, labels: Ints) -> None:
    absent = [name for k, name in enumerate(run.classes) if not (labels == k).any()]
    if absent:
        where = store.location if split == "all" else f"split {split} of {store.location}"
        raise ConfigError(
            f"{where} holds no readable sample of class {absent[0]!r}, and the metrics need some "
            f"of each{'' if split == 'all' else ': try all splits'}",
            hint="" if split == "all" else "split",
        )


def _make_table(run: Run, samples: pd.DataFrame, labels: Ints, mean: Floats) -> pd.DataFrame:
    names = np.array(run.classes, dtype=object)
    table = samples[["id", "split", "group"]].assign(
        label=names[labels], predicted=names[mean.argmax(axis=1)]
    )
    return table.join(pd.DataFrame(mean, columns=[f"p_{name}" for name in run.classes]))
