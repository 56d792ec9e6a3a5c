"""A sweep goes on wherever it was killed, and processes may share it."""

import fcntl
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
import shared_sweep
from forked import ForkedProcess
from sweeping import interrupted, options, run, score_in_place_of_training, sweep_store

from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.search.trials import AT_WORK, DATABASE


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sweep_store(tmp_path_factory.mktemp("sweep"), checkpoint)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    return score_in_place_of_training(monkeypatch)


def test_a_sweep_in_parts_proposes_what_one_in_one_piece_does(
    store: Store, tmp_path: Path, scored: list[TrainConfig]
) -> None:
    run(options(store, tmp_path / "whole", 12))
    whole = [replace(config, out=Path()) for config in scored]
    scored.clear()
    for trials in (3, 12, 12):
        run(options(store, tmp_path / "parts", trials))
    assert [replace(config, out=Path()) for config in scored] == whole


def test_an_interrupted_sweep_tries_what_one_in_one_piece_does(
    store: Store, tmp_path: Path, scored: list[TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = ("lr=1e-4..1e-2", "fusion=gate|residual")
    run(options(store, tmp_path / "whole", 12, search))
    whole = [replace(config, out=Path()) for config in scored]
    scored.clear()
    out = tmp_path / "parts"
    for trials in (3, 7, 7, 12):
        interrupted(options(store, out, 20, search), monkeypatch)
        run(options(store, out, trials, search))
    assert [replace(config, out=Path()) for config in scored] == whole
    states = pd.read_csv(out / "trials.csv")["state"]
    assert (states == "failed").sum() == 4, "each tried again once"


@pytest.mark.usefixtures("scored")
def test_ctrl_c_leaves_what_is_finished_and_no_running_trial(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(options(store, tmp_path / "sweep", 2))
    interrupted(options(store, tmp_path / "sweep", 4), monkeypatch)
    states = pd.read_csv(tmp_path / "sweep" / "trials.csv")["state"]
    assert sorted(states) == ["failed", "finished", "finished"]
    found = run(options(store, tmp_path / "sweep", 4))
    assert found.table["state"].isin(["finished", "cut short"]).sum() == 4


def test_processes_share_a_folder_and_a_killed_one_costs_its_trial_alone(
    store: Store, tmp_path: Path
) -> None:
    out, goal = tmp_path / "sweep", 10

    def start(name: str, trials: int) -> ForkedProcess:
        words = [store.location, str(out), str(trials)]
        return ForkedProcess(shared_sweep.sweep_quickly, words, tmp_path / name)

    killed, other = start("killed", 1000), start("other", goal)
    study = out / "sweep.db"
    deadline = time.monotonic() + 240
    while not (study.exists() and finished(study) >= 2):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    printed, errors = other.communicate(timeout=240)
    assert other.returncode == 0, errors
    assert "samcache train" in printed
    assert finished(study) >= goal
    table = pd.read_csv(out / "trials.csv")
    lost = table["state"].isin(["unfinished", "failed"]).sum()  # failed, if the other began later
    assert lost <= 1
    assert table["lr"].nunique() >= len(table) - 1, "all differ; the killed one's may be unknown"
    last = start("last", goal + 2)
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    again = pd.read_csv(out / "trials.csv")
    assert (again["state"] == "unfinished").sum() == 0
    assert (again["state"] == "failed").sum() == lost


def test_what_a_dead_process_was_at_is_tried_again_and_what_a_live_one_is_at_is_not(
    store: Store, tmp_path: Path, scored: list[TrainConfig]
) -> None:
    out, search = tmp_path / "sweep", ("lr=1e-4..1e-2",)
    run(options(store, out, 1, search))
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{out / DATABASE}")
    left = study.ask()  # as SIGKILL leaves it: running
    tried = left.suggest_float("lr", 1e-4, 1e-2, log=True)
    with (out / AT_WORK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        run(options(store, out, 2, search))
        assert tried not in [config.lr for config in scored]
    run(options(store, out, 3, search))
    assert scored[-1].lr == tried
    assert sorted(pd.read_csv(out / "trials.csv")["state"]) == ["failed"] + ["finished"] * 3


def finished(study: Path) -> int:
    try:
        with sqlite3.connect(f"file:{study}?mode=ro", uri=True, timeout=30) as database:
            query = "select count(*) from trials where state in ('COMPLETE', 'PRUNED')"
            count: int = database.execute(query).fetchone()[0]
    except sqlite3.OperationalError:  # it has no tables yet
        return 0
    return count
