"""Exported programs give the run's own probabilities, and are not kept where they do not."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_run import Trained, copied, one_line, own_predictions, samcache

from samcache.cache.store import Store
from samcache.train import export as export_module
from samcache.train.predictor import load_ensemble, open_run


def store_inputs(run: Path, store: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What the ensemble is given of a store's first shard."""
    found = export_module._store_inputs(open_run(run), Store(store))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"attention": "none"}, {"backbone": "swin_v2_t", "join": True}],
    ids=["slca", "none", "swin-join"],
)
def test_a_torch_program_gives_the_runs_probabilities(
    trained: Trained, tmp_path: Path, options: dict[str, object]
) -> None:
    run = trained.train(tmp_path / "run", **options) if options else trained.run
    out = tmp_path / "x" / "program.pt2"
    result = samcache("export", run, "--out", out)
    assert result.exit_code == 0, result.output
    assert "4 random inputs and 8 samples of the store" in result.stdout
    images, pooled = store_inputs(run, trained.store)
    found = torch.export.load(out).module()(images, pooled).detach().numpy()
    own = own_predictions(run).loc[Store(trained.store).table["id"][: len(images)]]
    np.testing.assert_allclose(found, own, atol=1e-5)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f"{out.name}.json"]


@pytest.mark.parametrize(
    "options", [{"join": True}, {"attention": "none"}], ids=["slca-join", "none"]
)
def test_an_onnx_program_gives_the_runs_probabilities(
    trained: Trained, tmp_path: Path, options: dict[str, object]
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    run = trained.train(tmp_path / "run", **options) if options else trained.run
    out = tmp_path / "program.onnx"
    result = samcache("export", run, "--format", "onnx", "--member", "seed-0", "--out", out)
    assert result.exit_code == 0, result.output
    images, pooled = store_inputs(run, trained.store)
    session = runtime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        given = {"images": images[:count].numpy()}
        given |= {level: maps[:count].numpy() for level, maps in pooled.items()}
        (found,) = session.run(["probabilities"], given)
        ensemble = load_ensemble(open_run(run), member="seed-0")
        maps = {level: values[:count] for level, values in pooled.items()}
        np.testing.assert_allclose(found, ensemble(images[:count], maps), atol=1e-5)


def test_the_file_beside_tells_inputs_classes_and_identity(
    trained: Trained, tmp_path: Path
) -> None:
    samcache("export", trained.run, "--out", tmp_path / "p.pt2", "--member", "seed-1")
    told = json.loads((tmp_path / "p.pt2.json").read_text())
    store = Store(trained.store)
    assert told["members"] == ["seed-1"]
    assert told["classes"] == list(store.dataset.classes)
    assert told["fingerprint"] == store.fingerprint
    assert told["inputs"]["images"]["shape"] == ["batch", 3, 32, 32]
    assert list(told["inputs"]) == ["images", *store.identity.levels]
    assert told["checked"]["largest_difference"] <= 1e-5


def test_a_program_with_another_output_is_not_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(*arguments: object) -> export_module.Program:
        program = written(*arguments)  # type: ignore[arg-type]
        return lambda images, pooled: program(images, pooled).roll(1, dims=1)

    written = export_module._write_torch
    monkeypatch.setattr(export_module, "_write_torch", write_another)
    line = one_line(
        samcache("export", trained.run, "--member", "seed-0", "--out", tmp_path / "p.pt2")
    )
    assert "was not kept" in line
    assert not list(tmp_path.iterdir())


def test_samples_come_from_the_named_store_or_the_runs_own_or_none(
    trained: Trained, tmp_path: Path
) -> None:
    run = copied(trained.run, tmp_path / "run", store=str(tmp_path / "gone.zarr"))
    words = ["export", run, "--member", "seed-0"]
    assert "on 4 random inputs the" in samcache(*words).stdout
    assert (run / "seed-0.pt2").exists()
    assert "8 samples" in samcache(*words, "--store", trained.store).stdout
    other = trained.extract(tmp_path / "other.zarr", pool=1)
    assert "pool is 1" in one_line(samcache(*words, "--store", other))
    assert "no member 'seed-7'" in one_line(samcache("export", run, "--member", "seed-7"))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    line = one_line(samcache("export", trained.run, "--out", tmp_path / "x" / "program.pt2"))
    assert line.endswith("(No space left on device): make room, and run the same command")
    assert not list((tmp_path / "x").iterdir())
