"""Too little memory is called that, wherever it is met, and nothing else is called that."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_run import Trained, copied, one_line, samcache

from samcache.cache.memory import ran_out_of_memory
from samcache.train.model.classifier import Classifier
from samcache.train.runs import ensemble as predictor


def allocate_by_numpy(*_: object) -> None:
    np.empty(1 << 60, np.uint8)


def allocate_by_torch(*_: object) -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def allocate_by_python(*_: object) -> None:
    bytearray(1 << 62)


def fail_by_c_plus_plus(*_: object) -> None:
    raise RuntimeError("std::bad_alloc")


ALLOCATIONS = [allocate_by_numpy, allocate_by_torch, allocate_by_python, fail_by_c_plus_plus]


@pytest.mark.parametrize("allocate", ALLOCATIONS)
def test_little_memory_is_no_fault_of_the_options_or_files(
    allocate: Callable[[], None], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", trained.store, "--epochs", 1, "--image-size", 32, "--out")
    for place, command in (
        (torch.nn.Conv2d, (*words, tmp_path / "first")),  # as the backbone is tried
        (Classifier, (*words, tmp_path / "second")),
        (predictor.TrainedMember, ("predict", trained.run, trained.store)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, "forward", allocate)
            line = one_line(samcache(*command))
        assert "memory" in line
        assert "cannot take images" not in line
        assert "damaged" not in line
        assert len(line) < 500
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "load_file", allocate)
        line = one_line(samcache("predict", copied(trained.run, tmp_path / "run"), trained.store))
    assert "there is not enough memory" in line


def test_other_errors_are_not_called_too_little_memory() -> None:
    for error in (RuntimeError("shape mismatch"), ValueError("x"), OSError(28, "No space left")):
        assert not ran_out_of_memory(error)
    assert ran_out_of_memory(torch.OutOfMemoryError("CUDA"))
