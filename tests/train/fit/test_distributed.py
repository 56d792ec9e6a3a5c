"""Two processes under torchrun train what one would, and one of them writes and speaks."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from forked import start_ranks
from tiny_cli import run_command

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.train.data.residency import choose_residency
from samcache.train.fit import distributed
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier, Design

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def options(store: Store, out: Path, *more: str) -> list[str]:
    return [
        "train", store.location, "--out", str(out), "--device", "cpu",
        "--epochs", "2", "--image-size", "32", *more,
    ]  # fmt: skip


def under_torchrun(words: list[str]) -> None:
    """A command that succeeds in two processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "samcache.cli", *words],
        capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def two_processes(words: list[str], folder: Path) -> tuple[list[int | None], str, str]:
    """A command in two processes as torchrun starts them: exit statuses, output, errors."""
    processes = start_ranks(run_command, ["0", *words], folder, size=2)
    printed = [process.communicate() for process in processes]
    output, errors = ("".join(parts) for parts in zip(*printed, strict=True))
    return [process.returncode for process in processes], output, errors


def test_two_processes_train_what_one_does(store: Store, tmp_path: Path) -> None:
    """A network without batch norm; batches of 9, 9 and 6, and classes of unequal weight."""
    chosen = (
        "--backbone", "timm:test_convnext", "--taps", "late:stage3,neck:stage4", "--seeds", "0",
        "--batch-size", "9", "--no-augment", "--class-weights", "--label-smoothing", "0.1",
    )  # fmt: skip
    alone = CliRunner().invoke(cli, options(store, tmp_path / "one", *chosen))
    assert alone.exit_code == 0, alone.output
    under_torchrun(options(store, tmp_path / "two", *chosen))
    one, two = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    for column in ("lr", "train_loss", "val_loss", "val_accuracy", "val_auc"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-3, err_msg=column)
    first, second = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("one", "two"))
    assert first["id"].tolist() == second["id"].tolist()
    np.testing.assert_allclose(second["p_1"], first["p_1"], atol=2e-3)
    assert not (tmp_path / "two" / "checkpoints").exists()


def test_one_process_writes_and_speaks(store: Store, tmp_path: Path) -> None:
    chosen = "--backbone", "timm:test_resnet", "--seeds", "0,1", "--batch-size", "8"
    words = options(store, tmp_path / "run", *chosen, "--mixup", "0.4")
    statuses, told, errors = two_processes(words, tmp_path / "printed")
    assert statuses == [0, 0], errors
    assert told.count("test, 8 samples") == 1
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics[["seed", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_a_refusal_is_said_once(store: Store, tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    words = options(store, tmp_path, "--backbone", "timm:test_resnet")
    statuses, _, errors = two_processes(words, tmp_path / "printed")
    assert statuses == [1, 1]
    assert errors.count("holds other files") == 1
    assert len(errors.split("Error")) == 2, "the second process has no error of its own"


def test_alone_nothing_is_exchanged() -> None:
    rows, values = torch.arange(5), torch.rand(5, 2)
    assert torch.equal(distributed.share(rows), rows)
    assert torch.equal(distributed.gather_rows(values, 5, torch.device("cpu")), values)
    with distributed.join_processes("cpu") as device:
        assert device == torch.device("cpu")
        assert (distributed.get_rank(), distributed.count_processes()) == (0, 1)
    model = torch.nn.Linear(2, 2)
    assert distributed.wrap_model(model, torch.device("cpu")) is model


@pytest.mark.parametrize("name", ["resnet18", "timm:densenet121", "timm:test_efficientnet"])
def test_common_batch_norm_changes_neither_the_network_nor_what_is_tapped(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of timm's, activations are part of the norms, and taps may be norms themselves."""
    backbone = build_backbone(name, 3, 64)
    images, cuda = torch.rand(2, 3, 64, 64), torch.device("cuda")
    with torch.no_grad():
        expected = backbone.net.eval()(images)
    monkeypatch.setattr(distributed, "count_processes", lambda: 2)
    common = replace(backbone, net=distributed.synchronise_norm(backbone.net, cuda))
    norms = [
        m for m in common.net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    with torch.no_grad():
        torch.testing.assert_close(common.net.eval()(images), expected)
    taps = {stage: stage for stage in common.stages}
    model = Classifier(common, Design(taps, 2, "gate"), dict.fromkeys(taps, 4), 64).eval()
    model(images, {stage: torch.rand(2, 4, 1, 1) for stage in taps}).sum().backward()
    assert all(weight.grad is not None for weight in model.attention.parameters())


def test_a_sweeps_processes_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.choose_device("cuda") == torch.device("cuda")
    for name in NAMES:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.choose_device("cuda") == torch.device("cuda:1")
    assert distributed.choose_device("cuda:0") == torch.device("cuda:0"), "asked for by its number"
    assert distributed.choose_device("cpu") == torch.device("cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refused = pytest.raises(ConfigError, match="4 processes share 2 GPUs")
    with refused, distributed.join_processes("cuda"):
        pass


def test_each_process_binds_to_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What NCCL is told, without GPUs; else every barrier guesses the device, and warns."""
    for name in NAMES:
        monkeypatch.setenv(name, "1")
    told: dict[str, object] = {}
    group = torch.distributed
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(group, "init_process_group", lambda _, **more: told.update(more))
    monkeypatch.setattr(group, "destroy_process_group", lambda: told.update(left=True))
    with distributed.join_processes("cuda") as device:
        assert device == told["device_id"] == torch.device("cuda:1")
    assert told.pop("left")
    with pytest.raises(ConfigError), distributed.join_processes("cuda"):
        raise ConfigError("of this process alone")
    assert "left" not in told, "leaving waits for all, and they may wait elsewhere"


def test_a_training_opens_no_gpu_but_its_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU beside two GPUs: asking one of these for anything would fail here."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = "--backbone", "timm:test_resnet", "--seeds", "0"
    done = CliRunner().invoke(cli, options(store, tmp_path / "run", *chosen))
    assert done.exit_code == 0, done.output


def test_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samcache.train.data.residency.free_memory", lambda: 400)
    cpu = torch.device("cpu")
    assert choose_residency(100, cpu, None, processes=2) == "memory"
    assert choose_residency(100, cpu, None, processes=3) == "disk"
