"""A sweep's database that is damaged, full or interrupted is one line, and never a traceback."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import RDBStorage
from sweeping import options, run, score_in_place_of_training, sweep_store

from samcache.cache.errors import ConfigError, SamcacheError, WriteError
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.search.database import report_database_errors


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sweep_store(tmp_path_factory.mktemp("sweep"), checkpoint)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    return score_in_place_of_training(monkeypatch)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def fill_with_text(path: Path) -> None:
    path.write_text("trial,lr\n0,0.1\n" * 100)


def empty_the_study(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE trials")


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("damage", [cut_short, fill_with_text, empty_the_study])
def test_a_damaged_database_is_one_line(
    damage: Callable[[Path], None], store: Store, tmp_path: Path
) -> None:
    config = options(store, tmp_path / "sweep", 1)
    run(config)
    damage(tmp_path / "sweep" / "sweep.db")
    with pytest.raises(ConfigError, match=r"sweep.db cannot be used \(.*\): it is damaged"):
        run(options(store, tmp_path / "sweep", 2))


@pytest.mark.slow
@pytest.mark.usefixtures("scored")
def test_flipped_bytes_end_in_one_line_or_in_a_sweep(store: Store, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(options(store, whole, 2))
    size, refused = (whole / "sweep.db").stat().st_size, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        folder = shutil.copytree(whole, tmp_path / f"sweep-{seed}")
        data = bytearray((folder / "sweep.db").read_bytes())
        for place in rng.integers(0, size, 400):
            data[place] ^= 1 << int(rng.integers(8))
        (folder / "sweep.db").write_bytes(data)
        told = None
        try:
            run(options(store, folder, 3))
        except SamcacheError as error:
            told = str(error)
        refused += told is not None
        assert told is None or len(told.splitlines()) == 1
    assert refused > 3


def test_a_full_disk_is_told_whoever_meets_it(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE t (x)")
    told = pytest.raises(WriteError, match=r"sweep.db cannot be written .*: free some space")
    with told, report_database_errors(path):
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
    database.close()


@pytest.mark.usefixtures("scored")
def test_ctrl_c_while_a_result_is_recorded_is_ctrl_c(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, calls = RDBStorage.set_trial_state_values, []

    def interrupt(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:  # the first begins the trial that was asked for
            raise KeyboardInterrupt
        return record(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(options(store, tmp_path / "sweep", 2))
    found = run(options(store, tmp_path / "sweep", 2))
    assert (found.table["state"].isin(["finished", "cut short"])).sum() == 2
