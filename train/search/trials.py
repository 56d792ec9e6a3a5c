"""The trials of a sweep: proposed by Optuna, cut short by the median, kept in a database.

The database is a SQLite file in the sweep's folder. Processes that share the folder share the
trials, and what a killed one had finished stands.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from samcache.cache.errors import ConfigError, WriteError
from samcache.cache.files.regular_file import check_regular
from samcache.cache.files.whole_file import replace_file
from samcache.train.config import TrainConfig
from samcache.train.fit.checkpoint import differences
from samcache.train.fit.training import EpochMetrics
from samcache.train.runs.csv_cells import guard_cells
from samcache.train.runs.folder import refuse_links
from samcache.train.search.database import report_database_errors
from samcache.train.search.dimensions import Dimension

try:
    import filelock
    import optuna
except ImportError as error:
    raise ConfigError(
        "sweep needs the packages optuna and filelock: pip install 'samcache[sweep]'"
    ) from error

DATABASE, LOCK, TABLE = "sweep.db", "sweep.lock", "trials.csv"
AT_WORK = "sweep.processes"  # locked by all that are at it together, for as long as they live

_STATES = {
    "COMPLETE": "finished",
    "PRUNED": "cut short",
    "FAIL": "failed",
    "RUNNING": "unfinished",  # in another process, or in one that was killed
}
_DONE = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
_STARTUP = 5  # trials that are finished before any is cut short
_LOCKED = 60  # seconds to wait for another process that writes
_SHOWN = 10  # trials in the printed table
_SEEDS_APART = 1_000_003
_AGAIN = "again"  # of a trial: which one it repeats
_REFUSED = "refused"  # of a trial: that its options cannot be

TrainTrial = Callable[[TrainConfig, Callable[[EpochMetrics], None]], None]


class Pruned(Exception):  # noqa: N818  (no error: a trial's end)
    """A trial ends here, without a result."""


@dataclass(frozen=True)
class TrialsTable:
    """What a sweep found.

    table: a line a trial, the best first: trial, state, val_auc (of the epoch that is kept),
    epochs, seconds, and the options that were varied. command: what trains and tests the best.
    """

    table: pd.DataFrame
    command: str | None

    def text(self) -> str:
        """The best trials, and how to go on."""
        counts = self.table["state"].value_counts()
        told = ", ".join(f"{counts[s]} {s}" for s in _STATES.values() if s in counts)
        shown = self.table.head(_SHOWN).drop(columns=["seconds"])
        lines = [shown.to_string(index=False, float_format=lambda x: f"{x:.4g}"), "", told]
        if self.command is not None:
            lines += ["validation AUC alone was looked at; to train and test the best:", ""]
            lines.append(self.command)
        return "\n".join(lines)


class Trials:
    """The study in a sweep's folder; raises ConfigError where another sweep's is there."""

    def __init__(
        self,
        base: TrainConfig,
        dimensions: tuple[Dimension, ...],
        description: dict[str, Any],
        console: Console,
    ) -> None:
        self._base, self._dimensions, self._console = base, dimensions, console
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # an interruption is no warning
        folder = base.out
        ours = (folder / LOCK).exists() or (folder / DATABASE).exists()
        if folder.is_dir() and any(folder.iterdir()) and not ours:
            raise ConfigError(f"--out {folder} holds other files: give an empty or new folder")
        refuse_links(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (DATABASE, LOCK, AT_WORK, TABLE):
            check_regular(folder / name)
        self._database = folder / DATABASE
        with self._lock(), self._report_errors():  # one process alone begins the study
            self._study = _open_study(base, dimensions, description)

    def run(self, count: int, train: TrainTrial) -> TrialsTable:
        """Run trials until ``count`` are finished or cut short, by whichever process."""
        with _progress(self._console) as progress:
            task = progress.add_task("", total=count, best="")

            def told(trial: str) -> None:
                progress.update(task, description=trial)

            try:
                with self._at_work(count):
                    while (done := self.done) < count:
                        best = "" if self.best is None else f"best validation AUC {self.best:.3f}"
                        progress.update(task, completed=done, best=best)
                        self._run_trial(train, told)
                progress.update(task, completed=done)
            finally:
                table = self.table()
                with replace_file(self._base.out / TABLE) as part:
                    guard_cells(table.table).to_csv(part, index=False)
        return table

    def _run_trial(self, train: TrainTrial, told: Callable[[str], None]) -> None:
        """Propose options, train with them, and record the result.

        Optuna's own loop raises another error over an interruption that comes while it records.
        """
        with self._report_errors():
            trial = self._study.ask()
            # of its own for each trial, so that it matters not which process proposes it
            place = _place(self._study, trial)
            seed = (self._base.seeds[0] * _SEEDS_APART + place) % 2**32
            self._study.sampler = _sampler(seed)
            values = {d.name: d.suggest(trial) for d in self._dimensions}
        state, value = optuna.trial.TrialState.FAIL, None
        try:
            value = self._objective(trial, replace(self._base, **values), train, told)
            state = optuna.trial.TrialState.COMPLETE
        except Pruned:
            state = optuna.trial.TrialState.PRUNED
        finally:
            with self._report_errors():
                self._study.tell(trial, value, state=state)

    def _objective(
        self,
        trial: optuna.Trial,
        options: TrainConfig,
        train: TrainTrial,
        told: Callable[[str], None],
    ) -> float:
        """Train with a trial's options; the validation AUC of the epoch that is kept."""
        aucs: list[float] = []

        def on_epoch(line: EpochMetrics) -> None:
            aucs.append(line.val_auc)
            with self._report_errors():
                trial.report(line.val_auc, line.epoch)
                pruned = trial.should_prune()
            told(f"trial {trial.number}, epoch {line.epoch}")
            if pruned:
                raise Pruned

        try:
            train(options, on_epoch)
        except WriteError:  # the disk's fault
            raise
        except ConfigError:
            with self._report_errors():
                trial.set_user_attr(_REFUSED, True)
            raise
        return _kept(aucs, options)

    def _report_errors(self) -> AbstractContextManager[None]:
        return report_database_errors(self._database)

    def _lock(self) -> AbstractContextManager[Any]:
        lock: AbstractContextManager[Any] = filelock.FileLock(self._base.out / LOCK)
        return lock

    @contextmanager
    def _at_work(self, count: int) -> Iterator[None]:
        """Be known to other processes as at work; what none is at any more is to be tried again."""
        with (self._base.out / AT_WORK).open("w") as file:
            with self._lock(), self._report_errors():  # each is tried again once
                if self.done < count:
                    if _locked(file, fcntl.LOCK_EX):
                        _fail_running(self._study)
                    _try_failed_again(self._study)
                _locked(file, fcntl.LOCK_SH)
            yield

    def _trials(
        self, states: tuple[optuna.trial.TrialState, ...] | None = None
    ) -> list[optuna.trial.FrozenTrial]:
        with self._report_errors():
            return self._study.get_trials(deepcopy=False, states=states)

    @property
    def done(self) -> int:
        """Trials that are finished or were cut short."""
        return len(self._trials(_DONE))

    @property
    def best(self) -> float | None:
        """The highest validation AUC of a finished trial."""
        finished = self._trials(_DONE[:1])
        return max((trial.value for trial in finished if trial.value is not None), default=None)

    def table(self) -> TrialsTable:
        """Every trial, the best first."""
        lines = []
        for trial in self._trials():
            aucs = [auc for _, auc in sorted(trial.intermediate_values.items())]
            seconds = trial.duration.total_seconds() if trial.duration else None
            line = {
                "trial": trial.number,
                "state": _STATES.get(trial.state.name, "waiting"),
                "val_auc": _kept(aucs, self._base) if aucs else None,
                "epochs": len(aucs),
                "seconds": seconds,
            }
            lines.append(line | {d.name: trial.params.get(d.name) for d in self._dimensions})
        columns = ["trial", "state", "val_auc", "epochs", "seconds"]
        table = pd.DataFrame(lines, columns=columns + [d.name for d in self._dimensions])
        order = table.assign(finished=table["state"] == "finished").sort_values(
            ["finished", "val_auc"], ascending=False, kind="stable"
        )
        return TrialsTable(order.drop(columns="finished"), self._command())

    def _command(self) -> str | None:
        if self.best is None:
            return None
        best = self._study.best_trial.params
        values = {d.name: d.typed(best[d.name]) for d in self._dimensions}
        chosen = replace(self._base, **values, out=self._base.out / "best")
        return replace(chosen, seeds=TrainConfig.seeds).command()


def _kept(aucs: list[float], options: TrainConfig) -> float:
    """Of a trial's epochs the AUC of the one that is kept."""
    return aucs[-1] if options.keep == "last" else max(aucs)


def _open_study(
    base: TrainConfig, dimensions: tuple[Dimension, ...], description: dict[str, Any]
) -> optuna.Study:
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{(base.out / DATABASE).absolute()}",
        engine_kwargs={"connect_args": {"timeout": _LOCKED}},
    )
    warmup = max(1, base.epochs // 4)
    study = optuna.create_study(
        study_name="sweep",
        storage=storage,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(_STARTUP, n_warmup_steps=warmup),
        load_if_exists=True,
    )
    if "options" not in study.user_attrs:
        study.set_user_attr("options", description)
    found = study.user_attrs["options"]
    if not isinstance(found, dict):
        raise ConfigError(f"{base.out / DATABASE} is damaged: give another folder")
    if told := differences(found, json.loads(json.dumps(description))):
        raise ConfigError(
            f"--out {base.out} holds a sweep with other options ({told}): give the same to go on "
            "with it, or another folder"
        )
    _begin_with_given(study, base, dimensions)
    return study


def _begin_with_given(
    study: optuna.Study, base: TrainConfig, dimensions: tuple[Dimension, ...]
) -> None:
    """Let the first trial have the options as given, as far as the search has them."""
    if not study.get_trials(deepcopy=False):
        given = {d.name: d.recorded(getattr(base, d.name)) for d in dimensions}
        study.enqueue_trial({name: value for name, value in given.items() if value is not None})


def _locked(file: IO[str], how: int) -> bool:
    """Whether a file could be locked so; not where another's lock forbids it, or none are known."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _fail_running(study: optuna.Study) -> None:
    """Let trials whose processes are dead, by SIGKILL or a power cut, be failed as others are."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _try_failed_again(study: optuna.Study) -> None:
    """Let what was interrupted be tried next, so that a sweep in parts tries what a whole one does.

    Not so trials whose options training refuses.
    """
    latest = {t.user_attrs.get(_AGAIN, t.number): t for t in study.get_trials(deepcopy=False)}
    for number, trial in latest.items():
        if trial.state == optuna.trial.TrialState.FAIL and _REFUSED not in trial.user_attrs:
            options = trial.system_attrs.get("fixed_params", {}) | trial.params
            study.enqueue_trial(options, user_attrs={_AGAIN: number})


def _place(study: optuna.Study, trial: optuna.Trial) -> int:
    """The number that a trial has in a sweep that nothing interrupts."""
    number = trial.user_attrs.get(_AGAIN, trial.number)
    before = study.get_trials(deepcopy=False)[:number]
    return int(number - sum(_AGAIN in earlier.user_attrs for earlier in before))


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    """One option at a time, so that a trial's values follow from its seed and the finished ones."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=False)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials"),
        TextColumn("{task.fields[best]}"),
        console=console,
    )
