"""A killed training goes on after its last saved epoch, to the numbers of an unbroken one."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import killed_train
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from forked import ForkedProcess
from killed_train import config
from safetensors.torch import load_file

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.train import run as run_module
from samcache.train.config import TrainConfig
from samcache.train.data.load import InputPlan
from samcache.train.fit import training as loop
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.run import describe_run, train
from samcache.train.runs.write_run import Results
from samcache.train.tasks.question import Question
from samcache.train.tasks.splits import plan_members


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The numbers of the killed process, which has one thread."""
    torch.set_num_threads(1)


def run(config: TrainConfig) -> Results:
    return train(config)


def killed_after(epochs: int, store: Store, out: Path) -> None:
    words = [store.location, str(out), str(epochs)]
    process = ForkedProcess(killed_train.train_until_killed, words, out.with_name("printed"))
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors


def numbers(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "metrics.csv").drop(columns="seconds")


def test_a_killed_run_ends_as_if_it_had_not_been(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run(config(store.location, str(unbroken)))
    killed_after(4, store, broken)  # one epoch into the second seed
    trained = []
    run_epoch = loop._Training.run_epoch

    def counted(self: loop._Training) -> loop.EpochMetrics:
        trained.append((self.member.seed, len(self.epochs) + 1))
        return run_epoch(self)

    monkeypatch.setattr(loop._Training, "run_epoch", counted)
    run(config(store.location, str(broken)))
    assert trained == [(1, 2), (1, 3)]
    pd.testing.assert_frame_equal(numbers(broken), numbers(unbroken), check_exact=True)
    for name in ("seed-0.safetensors", "seed-1.safetensors"):
        first, second = load_file(unbroken / name), load_file(broken / name)
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert (broken / "predictions.csv").read_bytes() == (unbroken / "predictions.csv").read_bytes()
    assert not (broken / "checkpoints").exists()


@pytest.fixture
def interrupted(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The options of a run that was interrupted after an epoch."""
    settings = replace(config(store.location, str(tmp_path / "run")), epochs=2, seeds=(0,))
    run_epoch = loop._Training.run_epoch

    def interrupt(self: loop._Training) -> loop.EpochMetrics:
        if self.epochs:
            raise KeyboardInterrupt
        return run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "run_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    return settings


def test_an_unfinished_run_goes_on_with_its_own_options_alone(interrupted: TrainConfig) -> None:
    changed = replace(interrupted, lr=0.5)
    message = r"holds an unfinished run with other options \(lr is 0.001 there, 0.5 here\)"
    with pytest.raises(ConfigError, match=message):
        run(changed)
    run(replace(changed, overwrite=True))
    assert not (interrupted.out / "checkpoints").exists()


def without_the_last(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.iloc[:-1]


def with_another_label(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.assign(label=samples["label"].where(samples.index != 3, 1 - samples["label"]))


def of_other_images(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.assign(sha256="0" * 64)


@pytest.mark.parametrize("other", [without_the_last, with_another_label, of_other_images])
def test_other_samples_are_no_ground_to_resume_on(
    interrupted: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    other: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    """Another data set's store has the same fingerprint, and may have as many rows."""
    own = Store.samples.func  # type: ignore[attr-defined]
    monkeypatch.setattr(Store, "samples", property(lambda self: other(own(self))))
    with pytest.raises(ConfigError, match=r"other options \((rows|samples) is"):
        run(interrupted)


def test_a_run_is_the_same_on_every_gpu_and_another_on_a_cpu(store: Store) -> None:
    """Under torchrun each process has a GPU of its own, and all of them open the same run."""
    settings = config(store.location, "run")
    members = plan_members(Question.of_classes(store.samples, store.dataset.classes), (0,))
    inputs = InputPlan.of(store, {}, None)
    first, second, cpu = (
        describe_run(replace(settings, device=device), inputs, members)
        for device in ("cuda:0", "cuda:1", "cpu")
    )
    assert first == second != cpu


def test_after_a_divergence_the_corrected_command_is_taken(interrupted: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="diverged"):
        run(replace(interrupted, lr=1e30, overwrite=True))
    run(replace(interrupted, lr=1e-4))


def test_saving_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, costs = [100.0], 2.0
    monkeypatch.setattr("samcache.train.fit.checkpoint.time.monotonic", lambda: now[0])

    def slow(_: object, path: Path) -> None:
        path.touch()
        now[0] += costs

    monkeypatch.setattr("samcache.train.fit.checkpoint.torch.save", slow)
    checkpoints = Checkpoints(tmp_path / "checkpoints", {}, overwrite=False)
    assert checkpoints.due, "the first epoch is saved"
    checkpoints.save("seed-0", {})
    now[0] += 99 * costs - 1
    assert not checkpoints.due
    now[0] += 1
    assert checkpoints.due


def test_a_damaged_checkpoint_is_told(interrupted: TrainConfig) -> None:
    path = interrupted.out / "checkpoints" / "seed-0.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"seed-0\.pt cannot be read: remove it"):
        run(interrupted)


def test_an_interrupted_command_says_how_to_go_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "train_member", interrupt)
    words = ["train", store.location, "--out", str(tmp_path / "run"), "--image-size", "16"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 130
    assert "run the same command again to resume after the last saved epoch" in result.stderr
