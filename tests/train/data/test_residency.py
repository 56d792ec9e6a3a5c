"""Where the data lie is chosen by what has room, and changes no number."""

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loading import load_scaled
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data import residency
from samcache.train.data.load import InputPlan
from samcache.train.data.residency import allocate, choose_residency
from samcache.train.model.pooling import divide_by_kernel
from samcache.train.run import train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMCACHE_STAGE", str(tmp_path / "stage"))
    return tmp_path / "stage"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Set the free bytes of the GPU and of memory."""

    def have(gpu: int, memory: int) -> None:
        monkeypatch.setattr(residency, "measure_free_memory", lambda _: gpu)
        monkeypatch.setattr(residency, "free_memory", lambda: memory)

    return have


@pytest.mark.parametrize(
    ("device", "gpu", "memory", "asked", "expected"),
    [
        (CUDA, 200, 0, None, "device"),
        (CUDA, 199, 200, None, "memory"),
        (CUDA, 199, 199, None, "disk"),
        (CPU, 200, 200, None, "memory"),
        (CPU, 200, 199, None, "disk"),
        (CUDA, 200, 200, "disk", "disk"),
        (CUDA, 200, 200, "memory", "memory"),
        (CUDA, 100, 0, "device", "device"),
        (CPU, 0, 0, "device", "memory"),
    ],
)
def test_the_first_place_with_room_is_chosen(
    room: Callable[[int, int], None],
    device: torch.device,
    gpu: int,
    memory: int,
    asked: str | None,
    expected: str,
) -> None:
    room(gpu, memory)
    assert choose_residency(100, device, asked) == expected


def test_a_full_disk_is_told_before_anything_is_read(room: Callable[[int, int], None]) -> None:
    room(0, 0)
    with pytest.raises(ConfigError, match="set SAMCACHE_STAGE to a larger disk"):
        choose_residency(2**60, CPU, None)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
def test_a_mapped_file_has_its_space_before_it_is_written(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.mkdir()
    made, make = [], tempfile.TemporaryFile

    def keep(**options: Any) -> Any:
        file = make(**options)
        made.append(os.fdopen(os.dup(file.fileno())))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", keep)
    allocate((64, 1024), torch.float16, "disk", CPU)
    with made[0] as file:
        assert os.fstat(file.fileno()).st_blocks * 512 >= 64 * 1024 * 2


def test_a_gpu_without_room_is_told_before_anything_is_read(
    room: Callable[[int, int], None],
) -> None:
    room(2000, 0)
    with pytest.raises(ConfigError, match=r"need 2.1 kB, cuda has 2.0 kB free: let train choose"):
        choose_residency(2100, CUDA, "device")


def test_what_torch_holds_of_a_gpu_and_does_not_use_counts_as_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {"mem_get_info": (100, 1000), "memory_reserved": 50, "memory_allocated": 20}
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, figure=figure: figure)
    assert residency.measure_free_memory(CUDA) == 130


def test_a_mapped_tensor_leaves_no_file_behind(stage: Path) -> None:
    stage.mkdir()
    maps = allocate((3, 2, 4, 4), torch.float16, "disk", CPU)
    assert list(stage.iterdir()) == []
    maps[:] = 2.5
    assert maps[torch.tensor([2, 0])].sum() == 2 * 32 * 2.5
    del maps
    gc.collect()


def test_the_bytes_are_known_before_the_data_are_read(run_extract: Extract) -> None:
    store, _ = run_extract()
    data = load_scaled(store, divide_by_kernel(store, ("patch", "neck"), 4), 24)
    held = [data.images, *data.pooled.values()]
    expected = sum(tensor.nbytes for tensor in held)
    plan = InputPlan.of(store, divide_by_kernel(store, ("patch", "neck"), 4), 24)
    assert plan.count_bytes() == expected


def test_every_residency_trains_to_the_same_bits(run_extract: Extract, tmp_path: Path) -> None:
    store: Store = run_extract()[0]
    found, told = {}, {}
    for place in ("memory", "disk"):
        out, log = tmp_path / place, list[Remark]()
        config = TrainConfig(
            store.location, out, epochs=1, seeds=(0,), image_size=16, batch_size=8,
            backbone="timm:test_resnet", residency=place,
        )  # fmt: skip
        train(config, log.append)
        found[place] = (out / "predictions.csv").read_bytes()
        told[place] = "\n".join(one.text for one in log)
    assert found["memory"] == found["disk"]
    assert "kB, in memory" in told["memory"]
    assert "kB, on disk" in told["disk"]
