"""``samcache evaluate``: test a run on another store, with the intervals that train computes."""

import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.whole_file import replace_file, write_json
from samcache.cache.labels.classes import list_used_classes
from samcache.cache.labels.units import number_groups
from samcache.cache.store import Store
from samcache.train.data.open_stores import refuse_other_answers
from samcache.train.predict import predict_store
from samcache.train.runs.csv_cells import guard_cells
from samcache.train.runs.ensemble import load_ensemble
from samcache.train.runs.folder import PREDICTIONS
from samcache.train.runs.prediction_rows import PredictedShard
from samcache.train.runs.run import Run
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.intervals import Summary
from samcache.train.scores.metrics import Floats
from samcache.train.scores.subgroups import Subgroup, score_subgroups
from samcache.train.tasks.label_table import open_label_table
from samcache.train.tasks.options import STORE_LABELS, TaskOptions
from samcache.train.tasks.question import BY, Question, ask, refuse_unlabelled
from samcache.train.tasks.targets.base import Labels


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
    subgroups: list[Subgroup] = field(default_factory=list)  # of the ensemble

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; without subgroups where none were asked for."""
        values = asdict(self)
        if not self.subgroups:
            del values["subgroups"]
        return values


def evaluate(
    run: Run, store: Store, split: str, device: str, task: TaskOptions = STORE_LABELS
) -> tuple[Evaluation, pd.DataFrame]:
    """Test a run's members and their mean on a split of a store, or on "all" of it.

    task: where the labels are, if they are not the store's own; without a target or subgroups, the
    columns of the run's own table, of subgroups those that the table has. The second is the
    content of predictions.csv: id, split, group, the labels, predicted, the mean's outputs and the
    subgroups, a line a sample. Raises ConfigError where classes are not the run's, or one of them
    has no sample, or the run does not record what it has seen.
    """
    refuse_other_answers(store, task, in_folds=split == "all")
    question, seen = _ask(run, store, task), run.seen
    ensemble = load_ensemble(run, device)
    asked = question.samples
    chosen = asked if split == "all" else asked[asked["split"] == split]
    found = predict_store(run, ensemble, store, chosen)
    parts = [replace(part, pooled={}) for part in found]  # the maps of all would fill the memory
    tables = [part.samples[part.readable] for part in parts]
    samples = pd.concat(tables, ignore_index=True) if tables else asked.iloc[:0]
    labels = question.labels[asked.index.get_indexer(pd.Index(chosen.index)[_readable(parts)])]
    _check_labels(run, store, split, labels)
    each = np.concatenate([part.probabilities[:, part.readable] for part in parts], axis=1)
    groups = number_groups(samples)
    predictions = LabelledPredictions(labels, groups, each, run.target)
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
        subgroups=score_subgroups(together, _read_subgroups(samples), run.target.count_sides),
    )
    return evaluation, _make_table(run, samples, labels, together.probabilities[0])


def _read_subgroups(samples: pd.DataFrame) -> dict[str, npt.NDArray[np.object_]]:
    """Each column of subgroups, and its value for each sample."""
    names = [name for name in map(str, samples) if name.startswith(BY)]
    return {name.removeprefix(BY): samples[name].to_numpy(dtype=object) for name in names}


def _readable(parts: list[PredictedShard]) -> npt.NDArray[np.bool_]:
    """Which of the samples of all parts have an image, (n,)."""
    return np.concatenate([part.readable for part in parts] or [np.zeros(0, np.bool_)])


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


def _ask(run: Run, store: Store, task: TaskOptions) -> Question:
    """The run's question to a store's samples, or to those that a table names."""
    recorded = run.config.get("task", {})
    of_kept = "target" in recorded and "labels" not in recorded
    if task.labels is None and not task.names_columns and not of_kept:
        if run.target.graded:
            return _match_classes(run, store)
        return ask(store, task, run.target)
    if not task.target:
        task = replace(task, target=tuple(recorded.get("target") or ["class"]))
    if task.labels and not task.by and recorded.get("by"):
        columns = open_label_table(task.labels, task.key).names
        task = replace(task, by=tuple(name for name in recorded["by"] if name in columns))
    return ask(store, task, run.target)


def _match_classes(run: Run, store: Store) -> Question:
    """The store's own classes, matched with the run's by name."""
    if not store.dataset.classes:
        raise refuse_unlabelled(store)
    used = list_used_classes(store.table, store.dataset.classes)
    unknown = [name for name in used if name not in run.classes]
    if unknown:
        raise ConfigError(
            f"{store.location} has the class {unknown[0]!r}, which {run.folder} does not know: it "
            f"knows {', '.join(run.classes)}; extract with the same names"
        )
    numbers = [run.classes.index(n) if n in used else -1 for n in store.dataset.classes]
    labels = np.array(numbers, dtype=np.int64)[store.samples["label"].to_numpy(dtype=np.int64)]
    return Question(store.samples, run.classes, run.target, labels)


def _check_labels(run: Run, store: Store, split: str, labels: Labels) -> None:
    """Raise ConfigError where metrics would not be defined."""
    absent = run.target.find_absent(labels) if len(labels) else run.classes
    if (run.target.graded and absent) or len(absent) == len(run.classes):
        where = store.location if split == "all" else f"split {split} of {store.location}"
        raise ConfigError(
            f"{where} holds no readable sample of class {absent[0]!r}, and the metrics need some "
            f"of each{'' if split == 'all' else ': try all splits'}",
            hint="" if split == "all" else "split",
        )


def _make_table(run: Run, samples: pd.DataFrame, labels: Labels, mean: Floats) -> pd.DataFrame:
    target = run.target
    subgroups = [name for name in map(str, samples) if name.startswith(BY)]
    table = samples[["id", "split", "group"]].assign(
        **target.write_labels(labels), predicted=target.decide(mean)
    )
    outputs = pd.DataFrame(mean, columns=list(target.output_columns))
    return table.join(outputs).join(samples[subgroups])
