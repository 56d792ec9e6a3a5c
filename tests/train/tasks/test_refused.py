"""Training refuses what it cannot do, and stops where numbers end, each in a line with advice."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quick_training import quick, run
from tiny_extraction import Extract, write_npz

from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.fit import training as loop
from samcache.train.model.classifier import Classifier


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": ("neck",)}, "'neck' should be LEVEL:STAGE"),
        ({"taps": ("head:stem",)}, "'head:stem' should be LEVEL:STAGE"),
        ({"taps": ("neck:stem", "neck:stage1")}, "each level once"),
        ({"taps": ("neck:stage9",)}, "no stage 'stage9'"),
        ({"backbone": "vgg"}, "no backbone 'vgg'"),
        ({"backbone": "vgg", "attention": "none"}, "no backbone 'vgg'"),
        ({"pretrained": "none.pth"}, "no weights at none.pth"),
        ({"kernel": 3}, "a kernel of 3 cells does not fit the store"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    store: Store, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(quick(store, tmp_path / "run", **change))
    assert not (tmp_path / "run").exists(), "the corrected command would be refused"


def test_a_diverging_loss_stops_with_its_epoch(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed-0 diverged: in epoch \d its loss") as caught:
        run(quick(store, tmp_path / "run", lr=1e30, epochs=6))
    told = str(caught.value)
    assert "try a learning rate below 1e+30" in told
    assert "neck gates nan" in told
    assert re.search(r"neck -?[\d.e-]+, [\d.]+, [\d.]+;", told), "the maps themselves are finite"


def test_a_step_that_a_gpu_has_no_memory_for_is_told_with_advice(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Classifier, "forward", full)
    config = quick(store, tmp_path / "run", batch_size=8)
    with pytest.raises(ConfigError, match=r"seed-0: a step of 8 images of \d+ pixels does not fit"):
        run(config)


@pytest.mark.parametrize(
    ("batch_size", "told"), [(4, "a larger batch size"), (64, "larger fractions")]
)
def test_steps_too_small_for_the_processes_are_told_with_advice(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, told: str
) -> None:
    """As under torchrun, where every process needs two samples of each batch."""
    monkeypatch.setattr(loop, "order_batches", lambda *_: [])
    with pytest.raises(
        ConfigError, match=f"samples for a step, which needs at least 2: give {told}"
    ):
        run(quick(store, tmp_path / "run", batch_size=batch_size))


def test_weights_that_give_no_numbers_stop_before_they_are_scored(
    store: Store, tmp_path: Path
) -> None:
    one_step = quick(store, tmp_path / "run", lr=1e30, epochs=1, batch_size=64)
    with pytest.raises(ConfigError, match=r"loss is 0\.\d+, and 0% of its validation logits"):
        run(one_step)


def test_test_samples_that_get_no_number_are_not_scored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However good the validation's look: a NaN would rank as any probability does."""
    found = loop._Training._predict

    def spoilt(self: loop._Training, rows: torch.Tensor) -> torch.Tensor:
        logits = found(self, rows)
        if torch.equal(rows, self.member.test):
            logits[1, 0] = torch.nan
        return logits

    monkeypatch.setattr(loop._Training, "_predict", spoilt)
    with pytest.raises(ConfigError, match="seed-0 gives 1 of 8 test samples no finite number"):
        run(quick(store, tmp_path / "run"))
    assert not (tmp_path / "run" / "results.json").exists()


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no taps were given"):
        TrainConfig("store", tmp_path, taps=())
    with pytest.raises(ConfigError, match="compensate for rare classes: give one"):
        TrainConfig("store", tmp_path, class_weights=True, balanced_sampling=True)


@pytest.mark.parametrize(
    "option", [{"taps": ("neck:stage4",)}, {"kernel": 4}, {"reduction": 8}, {"fusion": "residual"}]
)
def test_options_of_gates_are_refused_where_nothing_is_gated(
    tmp_path: Path, option: dict[str, object]
) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"{name} is an option of SLCA's gates, .*: leave it out"):
        TrainConfig("store", tmp_path, attention="none", **option)  # type: ignore[arg-type]
    TrainConfig("store", tmp_path, attention="none", join=True)


def test_a_finished_run_is_not_overwritten_unasked(store: Store, tmp_path: Path) -> None:
    config = quick(store, tmp_path / "run", epochs=1, seeds=(0,))
    run(config)
    with pytest.raises(ConfigError, match="holds a finished run"):
        run(config)
    run(replace(config, overwrite=True, seeds=(1,)))
    assert not (tmp_path / "run" / "seed-0.safetensors").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run(replace(config, out=tmp_path / "notes", overwrite=True))


@pytest.mark.parametrize(
    ("counts", "message"),
    [((24, 8, 1), "class '1' is missing from test.* What helps: train in 5 folds")],
)
def test_splits_that_cannot_be_scored_are_refused(
    run_extract: Extract, tmp_path: Path, counts: tuple[int, int, int], message: str
) -> None:
    store, _ = run_extract(source=write_npz(tmp_path / "few.npz", counts))
    with pytest.raises(ConfigError, match=message):
        run(quick(store, tmp_path / "run"))


def test_a_split_without_samples_is_refused(run_extract: Extract, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            path = tmp_path / "images" / split / name / "x.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    store, _ = run_extract(source=tmp_path / "images")
    with pytest.raises(ConfigError, match="cannot be trained by its own splits: val is empty"):
        run(quick(store, tmp_path / "run"))


def test_a_damaged_store_is_refused_before_training(store: Store, tmp_path: Path) -> None:
    path = Path(store.location) / "features/neck/c/1/0/0/0/0"
    data = bytearray(path.read_bytes())
    data[50] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"features/neck/c/1/0/0/0/0: checksums.*store is damaged"):
        run(quick(store, tmp_path / "run"))


def test_missing_objects_are_refused_before_training(store: Store, tmp_path: Path) -> None:
    (Path(store.location) / "features/late/c/1/0/0/0/0").unlink()
    with pytest.raises(StoreError, match=r"features/late/c/1/0/0/0/0 is missing.*cache verify"):
        run(quick(store, tmp_path / "run"))


def test_a_store_without_images_cannot_be_trained_on(run_extract: Extract, tmp_path: Path) -> None:
    store, _ = run_extract(frame_size=0)
    with pytest.raises(ConfigError, match="was extracted without images"):
        run(quick(store, tmp_path / "run"))
