"""The trials of a sweep: proposed by Optuna, cut short by the median, kept in a database.

The database is a SQLite file in the sweep's folder. Processes that share the folder share the
trials, and the finished trials of a killed process count.
"""

import fcntl
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.files.regular_file import check_regular
from samcache.cache.files.whole_file import replace_file
from samcache.train.config import TrainConfig, make_command
from samcache.train.fit.checkpoint import describe_differences
from samcache.train.fit.training import EpochMetrics
from samcache.train.runs.csv_cells import guard_cells
from samcache.train.runs.folder import refuse_links
from samcache.train.search.database import report_database_errors
from samcache.train.search.dimensions import Dimension
from samcache.train.tasks.targets.base import Target

try:
    import filelock
    import optuna
except ImportError as error:
    raise ConfigError(
        "sweep needs the packages optuna and filelock: pip install 'samcache[sweep]'"
    ) from error

DATABASE, LOCK, TABLE = "sweep.db", "sweep.lock", "trials.csv"
AT_WORK = "sweep.processes"  # locked by every process of the sweep for as long as it lives

STATES = {
    "COMPLETE": "finished",
    "PRUNED": "cut short",
    "FAIL": "failed",
    "RUNNING": "unfinished",  # in another process, or in one that was killed
}
_DONE = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
_BEGUN = (*_DONE, optuna.trial.TrialState.FAIL, optuna.trial.TrialState.RUNNING)
_STARTUP = 5  # trials that are finished before any is cut short
_LOCKED = 60  # seconds to wait for another process that writes
_SEEDS_APART = 1_000_003
_AGAIN = "again"  # of a trial: which one it repeats

TrainTrial = Callable[[TrainConfig, Callable[[EpochMetrics], None]], None]


class Pruned(Exception):  # noqa: N818  (no error: a trial's end)
    """A trial ends here, without a result."""


@dataclass(frozen=True)
class TrialsTable:
    """What a sweep found.

    table: a line a trial that was begun, the best first: trial, state, val_auc (or the
    metric that chooses epochs, of the one that is kept), epochs, seconds, and the options that were
    varied. command: trains and tests the best.
    """

    table: pd.DataFrame
    command: str | None


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is: trials done of those to reach, the best value, the trial under way.

    metric: of validation, by which trials are compared.
    """

    done: int
    total: int
    best: float | None
    metric: str
    trial: str = ""


OnSweep = Callable[[SweepProgress], None]


def ignore_sweep(progress: SweepProgress) -> None:
    """An OnSweep for callers that show nothing."""


def _announce(on_progress: OnSweep, progress: SweepProgress, trial: str) -> None:
    on_progress(replace(progress, trial=trial))


class Trials:
    """The study in a sweep's folder; raises ConfigError where another sweep's is there."""

    def __init__(
        self,
        base: TrainConfig,
        dimensions: tuple[Dimension, ...],
        description: dict[str, Any],
        target: Target,
    ) -> None:
        self._base, self._dimensions = base, dimensions
        self._selection = target.selection
        self._metric = f"val_{target.selection}"  # its column
        self._sign = -1 if target.lower_is_better else 1  # the study looks for the highest value
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # an interruption is no warning
        folder = base.out
        ours = (folder / LOCK).exists() or (folder / DATABASE).exists()
        if folder.is_dir() and any(folder.iterdir()) and not ours:
            raise ConfigError(
                f"{folder} holds other files: give an empty or new folder", hint="out"
            )
        refuse_links(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (DATABASE, LOCK, AT_WORK, TABLE):
            check_regular(folder / name)
        self._database = folder / DATABASE
        with self._lock(), self._report_errors():  # one process alone begins the study
            self._study = _open_study(base, dimensions, description)

    def run(self, count: int, train: TrainTrial, on_progress: OnSweep) -> TrialsTable:
        """Run trials until ``count`` are finished or cut short, by this process or another."""
        try:
            with self._take_part(count):
                while (done := self.done) < count:
                    progress = SweepProgress(done, count, self.best, self._selection)
                    on_progress(progress)
                    self._run_trial(train, partial(_announce, on_progress, progress))
            on_progress(SweepProgress(done, count, self.best, self._selection))
        finally:
            table = self.make_table()
            with replace_file(self._base.out / TABLE) as part:
                guard_cells(table.table).to_csv(part, index=False)
        return table

    def _run_trial(self, train: TrainTrial, on_epoch: Callable[[str], None]) -> None:
        """Propose options, train with them, and record the result.

        Optuna's own loop hides an interruption that comes while it records a result.
        """
        with self._report_errors():
            trial = self._study.ask()
            # a sampler for each trial, so that the process that proposes it makes no difference
            place = _find_place(self._study, trial)
            seed = (self._base.seeds[0] * _SEEDS_APART + place) % 2**32
            self._study.sampler = _make_sampler(seed)
            values = {d.name: d.suggest(trial) for d in self._dimensions}
        state, value = optuna.trial.TrialState.FAIL, None
        refused = False
        try:
            value = self._train(trial, replace(self._base, **values), train, on_epoch)
            state = optuna.trial.TrialState.COMPLETE
        except Pruned:
            state = optuna.trial.TrialState.PRUNED
        except ConfigError:
            refused = True
            raise
        finally:
            with self._report_errors():
                self._study.tell(trial, value, state=state)
                if state == optuna.trial.TrialState.FAIL and not refused:
                    _retry(self._study, self._trials()[trial.number])

    def _train(
        self,
        trial: optuna.Trial,
        options: TrainConfig,
        train: TrainTrial,
        on_trial_epoch: Callable[[str], None],
    ) -> float:
        """Train with a trial's options; the value of the epoch that is kept."""
        values: list[float] = []

        def on_epoch(line: EpochMetrics) -> None:
            values.append(self._sign * line.selected)
            with self._report_errors():
                trial.report(values[-1], line.epoch)
                pruned = trial.should_prune()
            on_trial_epoch(f"trial {trial.number}, epoch {line.epoch}")
            if pruned:
                raise Pruned

        train(options, on_epoch)
        return _choose_kept(values, options)

    def _report_errors(self) -> AbstractContextManager[None]:
        return report_database_errors(self._database)

    def _lock(self) -> AbstractContextManager[Any]:
        lock: AbstractContextManager[Any] = filelock.FileLock(self._base.out / LOCK)
        return lock

    @contextmanager
    def _take_part(self, count: int) -> Iterator[None]:
        """Share the sweep with other processes; a process that is alone retries dead ones' trials.

        The system releases the lock of a process that is killed.
        """
        with (self._base.out / AT_WORK).open("w") as file:
            with self._lock(), self._report_errors():
                if self.done < count and _try_lock(file, fcntl.LOCK_EX):
                    _retry_running(self._study)
                _try_lock(file, fcntl.LOCK_SH)
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
        """The best value of a finished trial, in the metric that chooses epochs."""
        finished = self._trials(_DONE[:1])
        values = [trial.value for trial in finished if trial.value is not None]
        return self._sign * max(values) if values else None

    def make_table(self) -> TrialsTable:
        """Every trial, the best first."""
        lines = []
        for trial in self._trials(_BEGUN):
            values = [value for _, value in sorted(trial.intermediate_values.items())]
            seconds = trial.duration.total_seconds() if trial.duration else None
            line = {
                "trial": trial.number,
                "state": STATES[trial.state.name],
                self._metric: self._sign * _choose_kept(values, self._base) if values else None,
                "epochs": len(values),
                "seconds": seconds,
            }
            lines.append(line | {d.name: trial.params.get(d.name) for d in self._dimensions})
        columns = ["trial", "state", self._metric, "epochs", "seconds"]
        table = pd.DataFrame(lines, columns=columns + [d.name for d in self._dimensions])
        order = table.assign(finished=table["state"] == "finished").sort_values(
            ["finished", self._metric], ascending=[False, self._sign < 0], kind="stable"
        )
        return TrialsTable(order.drop(columns="finished"), self._make_command())

    def _make_command(self) -> str | None:
        if self.best is None:
            return None
        best = self._study.best_trial.params
        values = {d.name: d.parse(best[d.name]) for d in self._dimensions}
        chosen = replace(self._base, **values, out=self._base.out / "best")
        return shlex.join(make_command(replace(chosen, seeds=TrainConfig.seeds)))


def _choose_kept(values: list[float], options: TrainConfig) -> float:
    """Of a trial's epochs the value of the one that is kept."""
    return values[-1] if options.keep == "last" else max(values)


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
    if others := describe_differences(found, json.loads(json.dumps(description))):
        raise ConfigError(
            f"{base.out} holds a sweep with other options ({others}): give the same options to "
            "resume it, or another folder",
            hint="out",
        )
    _enqueue_given(study, base, dimensions)
    return study


def _enqueue_given(
    study: optuna.Study, base: TrainConfig, dimensions: tuple[Dimension, ...]
) -> None:
    """Let the first trial have the options as given, as far as the search has them."""
    if not study.get_trials(deepcopy=False):
        given = {d.name: d.record(getattr(base, d.name)) for d in dimensions}
        study.enqueue_trial({name: value for name, value in given.items() if value is not None})


def _try_lock(file: IO[str], how: int) -> bool:
    """Lock a file; False where another process's lock forbids it, or the file system has none."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _retry_running(study: optuna.Study) -> None:
    """Fail and retry the trials of dead processes, after SIGKILL or a power cut."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        _retry(study, trial)


def _retry(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Let the next trial have an interrupted one's options.

    So a sweep in parts tries what a sweep in one piece does.
    """
    options = trial.system_attrs.get("fixed_params", {}) | trial.params
    study.enqueue_trial(options, user_attrs={_AGAIN: trial.user_attrs.get(_AGAIN, trial.number)})


def _find_place(study: optuna.Study, trial: optuna.Trial) -> int:
    """The number that a trial has in a sweep that nothing interrupts."""
    number = trial.user_attrs.get(_AGAIN, trial.number)
    before = study.get_trials(deepcopy=False)[:number]
    return int(number - sum(_AGAIN in earlier.user_attrs for earlier in before))


def _make_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """One option at a time, so that a trial's values follow from its seed and the finished ones."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=False)
