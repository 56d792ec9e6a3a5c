"""A sweep searches by validation alone, from one load."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from shown import text_of
from sweeping import interrupted, options, run, score_in_place_of_training, sweep_store

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.commands.show.trainings import describe_trials
from samcache.train import sweep as sweep_module
from samcache.train.config import TrainConfig
from samcache.train.data import load as load_module
from samcache.train.data.dataset import TrainingData
from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.fit.training import DivergedError, EpochMetrics
from samcache.train.model.classifier import Classifier
from samcache.train.tasks.splits import Member


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sweep_store(tmp_path_factory.mktemp("sweep"), checkpoint)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    return score_in_place_of_training(monkeypatch)


def test_a_sweep_trains_from_one_load_and_tells_the_best(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def counted(plan: InputPlan, *place: Any) -> TrainingData:
        loads.append(plan.sides)
        return load_training_data(plan, *place)

    monkeypatch.setattr(load_module, "load_training_data", counted)
    search = "lr=2e-3..2e-2", "kernel=2|4", "fusion=gate|residual", "taps=neck:stage4|late:stage3"
    found = run(options(store, tmp_path / "sweep", 3, search))
    held = [item for sides in loads for item in sides.items()]
    assert len(held) == len(set(held)) > 1, "every level once for each kernel"
    assert found.table["state"].isin(["finished", "cut short"]).all()
    assert len(found.table) == 3
    written = pd.read_csv(tmp_path / "sweep" / "trials.csv")
    columns = ["trial", "state", "val_auc", "epochs", "seconds", "lr", "kernel", "fusion", "taps"]
    assert list(written.columns) == columns
    assert written["val_auc"].between(0, 1).all()
    assert found.command is not None
    assert f"samcache train {store.location} --out {tmp_path}/sweep/best" in found.command
    best = written[written["state"] == "finished"].iloc[0]
    assert f"--lr {best['lr']}" in found.command
    assert f"--taps {best['taps']}" in found.command
    assert found.command in text_of(describe_trials(found))
    words = found.command.split()[1:]
    assert CliRunner().invoke(cli, [*words, "--epochs", "1", "--seeds", "0"]).exit_code == 0


def test_the_first_trial_has_the_options_as_given(
    store: Store, tmp_path: Path, scored: list[TrainConfig]
) -> None:
    run(options(store, tmp_path / "sweep", 2))
    first = scored[0]
    assert (first.lr, first.fusion) == (1e-3, "gate")
    assert first.taps in (("neck:stage4",), ("late:stage3",))


def test_the_options_as_given_are_tried_again_where_their_trial_was_interrupted(
    store: Store, tmp_path: Path, scored: list[TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(options(store, tmp_path / "sweep", 2), monkeypatch)
    run(options(store, tmp_path / "sweep", 2))
    assert [(c.lr, c.fusion) for c in scored].count((1e-3, "gate")) == 1
    assert (scored[0].lr, scored[0].fusion) == (1e-3, "gate")


def test_a_trial_is_worth_what_the_epoch_is_that_train_would_keep(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falling(_: Member, __: TrainingData, config: TrainConfig, *rest: object) -> None:
        for epoch, auc in enumerate((0.6, 0.9, 0.7), start=1):
            line = EpochMetrics(0, None, 1.0, epoch, config.lr, 0.5, 0.5, {"auc": auc}, "auc", 0.1)
            rest[1](line)  # type: ignore[operator]

    monkeypatch.setattr(sweep_module, "train_member", falling)
    for keep, auc in (("best", 0.9), ("last", 0.7)):
        config = options(store, tmp_path / keep, 1)
        found = run(replace(config, base=replace(config.base, keep=keep)))
        assert found.table["val_auc"].tolist() == [auc]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("backbone=timm:test_resnet|nope", "no backbone 'nope'"),
        ("taps=neck:stage4|neck:stage9", "no stage 'stage9'"),
        ("stem=standard|small", "a small stem is for ResNets"),
    ],
)
def test_what_cannot_be_built_is_refused_before_the_first_trial(
    store: Store, tmp_path: Path, scored: list[TrainConfig], search: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(options(store, tmp_path / "sweep", 3, (search, "lr=1e-4..1e-2")))
    assert not scored


@pytest.mark.usefixtures("scored")
def test_every_seed_that_train_takes_may_be_searched_with(store: Store, tmp_path: Path) -> None:
    config = options(store, tmp_path / "sweep", 1)
    run(replace(config, base=replace(config.base, seeds=(2**32 - 1,))))


@pytest.mark.usefixtures("scored")
def test_a_sweep_finds_what_scores_best(store: Store, tmp_path: Path) -> None:
    search = ("lr=1e-5..1", "fusion=gate|residual")
    found = run(options(store, tmp_path / "sweep", 30, search))
    best = found.table.iloc[0]
    assert best["state"] == "finished"
    assert abs(np.log10(best["lr"]) + 2.5) < 0.3
    assert best["fusion"] == "residual"
    assert (found.table["state"] == "cut short").sum() > 5, "what stays below the median"
    cut = found.table[found.table["state"] == "cut short"]
    assert (cut["epochs"] < 4).any()
    assert found.table["val_auc"][
        : (found.table["state"] == "finished").sum()
    ].is_monotonic_decreasing


def test_options_that_training_refuses_are_not_tried_again(
    store: Store, tmp_path: Path, scored: list[TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("not these")

    config = options(store, tmp_path / "sweep", 2)
    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "train_member", refuse)
        with pytest.raises(ConfigError, match="not these"):
            run(config)
    run(config)
    assert (1e-3, "gate") not in [(c.lr, c.fusion) for c in scored]


@pytest.mark.usefixtures("scored")
def test_another_sweep_in_the_same_folder_is_refused(store: Store, tmp_path: Path) -> None:
    run(options(store, tmp_path / "sweep", 1))
    with pytest.raises(ConfigError, match=r"other options \(search is .*lr=0.0001..0.01"):
        run(options(store, tmp_path / "sweep", 2, ("lr=1e-4..1e-1",)))
    changed = options(store, tmp_path / "sweep", 2)
    with pytest.raises(ConfigError, match=r"epochs is 4 there, 9 here"):
        run(replace(changed, base=replace(changed.base, epochs=9)))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run(options(store, tmp_path / "notes", 2))


def test_a_training_that_diverges_is_a_bad_trial_and_no_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("nan")

    monkeypatch.setattr(sweep_module, "train_member", diverge)
    found = run(options(store, tmp_path / "sweep", 2))
    assert found.table["state"].tolist() == ["cut short", "cut short"]
    assert found.command is None


def test_a_trial_that_a_gpu_has_no_memory_for_is_cut_short(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Classifier, "forward", full)
    found = run(options(store, tmp_path / "sweep", 2))
    assert found.table["state"].tolist() == ["cut short", "cut short"]


def test_options_that_change_nothing_are_not_searched(store: Store, tmp_path: Path) -> None:
    config = options(store, tmp_path / "sweep", 1, ("fusion=gate|residual",))
    with pytest.raises(ConfigError, match="search over fusion changes nothing with attention none"):
        run(replace(config, base=replace(config.base, attention="none")))


def test_whether_a_head_joins_can_be_searched_without_attention(
    store: Store, tmp_path: Path
) -> None:
    config = options(store, tmp_path / "sweep", 3, ("join=true|false",))
    base = replace(config.base, attention="none", epochs=1)
    found = run(replace(config, base=base))
    assert set(found.table["state"]) == {"finished"}
    assert set(found.table["join"]) <= {"true", "false"}
    assert found.table.loc[found.table["trial"] == 0, "join"].item() == "false", "as given"
