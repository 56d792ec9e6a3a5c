"""What a training computes in, and that a compiled one computes the same."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.train.config import TrainConfig
from samcache.train.fit.precision import compute_in, resolve_precision
from samcache.train.run import train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def generation(monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    told = SimpleNamespace(major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: told)


@pytest.mark.parametrize(
    ("asked", "device", "has", "expected"),
    [
        ("auto", CPU, False, "float32"),
        ("auto", CUDA, True, "bfloat16"),
        ("auto", CUDA, False, "float32"),
        ("float32", CUDA, True, "float32"),
        ("bfloat16", CPU, False, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_where_a_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, asked: str, device: torch.device, has: bool, expected: str
) -> None:
    generation(monkeypatch, 8 if has else 7)
    assert resolve_precision(asked, device) == expected


def test_a_gpu_without_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    generation(monkeypatch, 7)
    with pytest.raises(ConfigError, match="cuda has no bfloat16: choose auto or float32"):
        resolve_precision("bfloat16", CUDA)


def test_bfloat16_computes_so_and_keeps_weights_in_float32() -> None:
    layer = torch.nn.Linear(4, 2)
    with compute_in("bfloat16", CPU):
        out = layer(torch.rand(3, 4))
    assert (out.dtype, layer.weight.dtype) == (torch.bfloat16, torch.float32)
    with compute_in("float32", CPU):
        assert layer(torch.rand(3, 4)).dtype == torch.float32


def quick(store: str, out: Path, **changes: object) -> TrainConfig:
    # at 16 pixels the last maps are a single cell, of which torch 2.14.1's gradients in bfloat16 on
    # CPUs, channels last, are now and then no numbers
    config = TrainConfig(
        store, out, epochs=1, seeds=(0,), image_size=32, batch_size=8, backbone="timm:test_resnet",
        taps=("neck:stage4",),
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.fixture
def losses(
    run_extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """The training loss of one epoch: as it is, in bfloat16, and traced by the compiler."""
    store = run_extract()[0].location
    whole = torch.nn.Module.compile
    # traced as for a GPU, but no code is built
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: whole(model, backend="eager"))
    found = {}
    ways: dict[str, dict[str, object]] = {
        "plain": {}, "bfloat16": {"precision": "bfloat16"}, "compiled": {"compile": True},
    }  # fmt: skip
    for name, changes in ways.items():
        train(quick(store, tmp_path / name, **changes))
        found[name] = float(pd.read_csv(tmp_path / name / "metrics.csv")["train_loss"][0])
    return found


def test_every_way_of_computing_trains_alike(losses: dict[str, float]) -> None:
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-4)
    assert losses["bfloat16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["bfloat16"] != losses["plain"]
