"""Exported programs, run without samcache by the documented scripts, give predict's numbers."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from documented_commands import ROOT
from PIL import Image
from torchvision.models import _api
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)
from trained_run import Trained, copied, one_line, samcache

from samcache.cache.store import Store
from samcache.extract.images.preprocess import to_frame
from samcache.extract.pipeline.image_program import frame_image
from samcache.train import export as export_module
from samcache.train.data.resize import Resize
from samcache.train.runs import program_file

SCRIPTS = {name: ROOT / "demo" / f"{name}.py" for name in ("run_exported", "run_exported_image")}
# A path hook would be passed by the finder of an editable install; this stands before every finder.
WITHOUT_SAMCACHE = """
import contextlib, io, json, runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "samcache":
            raise ImportError("samcache is not installed here")
sys.meta_path.insert(0, Blocked())
for line in sys.stdin:
    sys.argv = json.loads(line)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(sys.argv[0], run_name="__main__")
    print(json.dumps(printed.getvalue()), flush=True)
"""
Script = Callable[..., np.ndarray[Any, Any]]
SMALL = "timm:test_resnet"
RUNS: dict[str, dict[str, Any]] = {
    "none": {"attention": "none"},
    "swin": {"attention": "none", "backbone": "swin_v2_t"},
}


def build_small_swin(weights: None, num_classes: int) -> SwinTransformer:
    """Every kind of torchvision's Swin v2 layers, few and narrow; windows shift and are padded."""
    assert weights is None
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=16, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 2],
        window_size=[8, 8], num_classes=num_classes, block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_script() -> Iterator[Script]:
    """The probabilities that a documented script prints, in one process without samcache."""
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_SAMCACHE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT.parent,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def run(name: str, *words: object) -> np.ndarray[Any, Any]:
            stdin.write(json.dumps([str(SCRIPTS[name]), *map(str, words)]) + "\n")
            stdin.flush()
            answer = stdout.readline()
            assert answer, "the script failed: see standard error"
            lines = [line.split(",")[1:] for line in json.loads(answer).splitlines()]
            return np.array(lines, dtype=np.float64)

        yield run


def predicted(run: Path, given: Path, table: Path, *options: object) -> np.ndarray[Any, Any]:
    """The probabilities that predict writes as CSV."""
    result = samcache("predict", run, given, "--out", table, *options)
    assert result.exit_code == 0, result.output
    found = pd.read_csv(table)
    values: np.ndarray[Any, Any] = found.filter(regex="^p_").to_numpy()
    return values


@pytest.fixture(scope="module")
def uneven(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Finer maps than the classifiers read, and frames of another size than their images."""
    folder = tmp_path_factory.mktemp("uneven")
    return replace(trained, store=trained.extract(folder / "fine.zarr", pool=1, frame_size=64))


@pytest.fixture(scope="module")
def joined(uneven: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with gates and a second head, of two seeds; images are scaled from 64 to 48."""
    out = tmp_path_factory.mktemp("joined") / "run"
    return uneven.train(out, image_size=48, backbone=SMALL, join=True, seeds=(0, 1))


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("onnx", "slca-join"),
        ("onnx", "swin"),
        ("torch", "slca-join"),
        ("torch", "none"),
    ],
)
def test_the_documented_script_reproduces_predict_without_samcache(
    uneven: Trained,
    joined: Path,
    run_script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    name: str,
) -> None:
    if style == "onnx":
        pytest.importorskip("onnxruntime")
    monkeypatch.setitem(_api.BUILTIN_MODELS, "swin_v2_t", build_small_swin)
    options = {"image_size": 48, "backbone": SMALL, **RUNS.get(name, {})}
    run = uneven.train(tmp_path / "run", **options) if name in RUNS else joined
    program = tmp_path / "x" / f"program{program_file.SUFFIXES[style]}"
    result = samcache("export", run, "--format", style, "--out", program)
    assert result.exit_code == 0, result.output
    assert "4 random inputs and 8 stored samples" in result.stdout
    expected = predicted(run, uneven.store, tmp_path / "predicted.csv")
    found = run_script("run_exported", program, uneven.store)
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=1e-6)
    assert sorted(path.name for path in program.parent.iterdir()) == [
        program.name,
        f"{program.name}.json",
    ]


@pytest.mark.usefixtures("not_exported")
@pytest.mark.parametrize(
    "options",
    [
        {"attention": "per-location", "image_size": 32},
        {"attention": "global"},
        {"attention": "none", "join": True, "image_size": 64},
    ],
    ids=str,
)
def test_every_kind_of_attention_is_compared_with_predict(
    uneven: Trained, tmp_path: Path, options: dict[str, Any]
) -> None:
    run = uneven.train(tmp_path / "run", **{"image_size": 48, "backbone": SMALL, **options})
    result = samcache("export", run)
    assert result.exit_code == 0, result.output
    assert "4 random inputs and 8 stored samples" in result.stdout


@pytest.mark.usefixtures("not_exported")
def test_a_run_that_reads_no_level_is_exported_without_an_encoder(
    uneven: Trained, tmp_path: Path
) -> None:
    run = uneven.train(tmp_path / "run", image_size=48, backbone=SMALL, attention="none")
    result = samcache("export", run, "--with-encoder", "--checkpoint", uneven.checkpoint)
    assert result.exit_code == 0, result.output
    described = json.loads((run / "ensemble-with-encoder.pt2.json").read_text())
    assert described["encoder_precision"] == "none: the run reads no level"


@pytest.mark.parametrize("style", ["torch", "onnx"])
def test_a_program_with_the_encoder_takes_image_files_of_any_size(
    uneven: Trained, joined: Path, run_script: Script, tmp_path: Path, style: str
) -> None:
    if style == "onnx":
        pytest.importorskip("onnxruntime")
    run = joined
    program = tmp_path / f"program{program_file.SUFFIXES[style]}"
    words = ["export", run, "--with-encoder", "--format", style, "--out", program]
    result = samcache(*words, "--checkpoint", uneven.checkpoint)
    assert result.exit_code == 0, result.output
    images = tmp_path / "images"
    images.mkdir()
    for number, size in enumerate(((28, 28), (200, 61), (61, 200), (64, 64), (31, 333))):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    checkpoint = ("--checkpoint", uneven.checkpoint)
    expected = predicted(run, images, tmp_path / "predicted.csv", *checkpoint)
    found = run_script("run_exported_image", program, *sorted(images.iterdir()))
    # onnxruntime's encoder differs in last digits, of which rounding to float16 makes more
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if style == "torch" else 1e-4)
    described = json.loads(Path(f"{program}.json").read_text())
    assert described["inputs"]["image"]["shape"] == [1, 3, "height", "width"]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_frames_made_with_tensors_are_pillows_to_the_bit(interpolation: str) -> None:
    rng = np.random.default_rng(0)
    for height, width in [
        (1, 9),
        (9, 1),
        (300, 91),
        (91, 300),
        (64, 64),
        *rng.integers(2, 300, (40, 2)),
    ]:
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        side = int(rng.choice([32, 64, 100, 224]))
        expected, extent = to_frame(Image.fromarray(pixels), side, interpolation)
        given = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        frame, inside = frame_image(given, side, interpolation)
        np.testing.assert_array_equal(
            frame[0].permute(1, 2, 0), expected, err_msg=f"{pixels.shape}"
        )
        assert int(inside.sum()) == extent[0] * extent[1]


@pytest.mark.parametrize(("frame", "side"), [(256, 224), (128, 96), (64, 224), (37, 11), (7, 1)])
def test_images_are_resized_as_torch_does_and_rounded_half_to_even(frame: int, side: int) -> None:
    generator = torch.Generator().manual_seed(frame)
    images = torch.randint(256, (2, 3, frame, frame), generator=generator, dtype=torch.uint8)
    exact = torch.nn.functional.interpolate(
        images.double(), (side, side), mode="bilinear", antialias=True
    )
    found = Resize(frame, side)(images)
    assert (found - exact).abs().max() <= 0.5 + 1e-3
    flat = torch.full_like(images, 255)
    assert (Resize(frame, side)(flat) == 255).all()


@pytest.mark.usefixtures("not_exported")
def test_a_bfloat16_run_reports_what_float32_changes(trained: Trained, tmp_path: Path) -> None:
    narrow = replace(trained, store=trained.extract(tmp_path / "b.zarr", precision="bfloat16"))
    run = narrow.train(tmp_path / "run", join=True, backbone=SMALL)
    words = ["export", run, "--with-encoder", "--checkpoint", trained.checkpoint]
    same = samcache(*words)
    assert same.exit_code == 0, same.output
    assert len(same.stdout.splitlines()) == 1
    other = samcache(*words, "--format", "onnx")
    assert "computes in bfloat16, the program's in float32" in other.stdout
    described = json.loads((run / "ensemble-with-encoder.onnx.json").read_text())
    assert described["encoder_precision"] == "float32"
    assert described["identity"]["precision"] == "bfloat16"


def test_other_weights_are_refused(trained: Trained, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(b"other")
    line = one_line(samcache("export", trained.run, "--with-encoder", "--checkpoint", other))
    assert "give the file that made the features (--checkpoint)" in line


@pytest.mark.usefixtures("not_exported")
def test_the_file_beside_describes_inputs_as_the_store_has_them(
    trained: Trained, tmp_path: Path
) -> None:
    samcache("export", trained.run, "--out", tmp_path / "p.pt2", "--member", "seed-1")
    described = json.loads((tmp_path / "p.pt2.json").read_text())
    store = Store(trained.store)
    frame = store.identity.frame_size
    assert described["members"] == ["seed-1"]
    assert described["classes"] == list(store.dataset.classes)
    assert described["fingerprint"] == store.fingerprint
    shapes = {"images": [3, frame, frame]} | {
        level: list(shape) for level, shape in store.layout.level_shapes.items()
    }
    assert {name: value["shape"][1:] for name, value in described["inputs"].items()} == shapes
    dtypes = {name: value["dtype"] for name, value in described["inputs"].items()}
    assert dtypes == {"images": "uint8"} | dict.fromkeys(store.identity.levels, "float16")
    assert described["checked"]["largest_difference"] <= 1e-6


def test_a_program_with_another_output_is_not_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(
        exportable: program_file.Exportable, path: Path, _style: str
    ) -> program_file.Program:
        path.write_bytes(b"program")
        return lambda *inputs: exportable.module(*inputs).roll(1, dims=1)

    monkeypatch.setattr(export_module, "write_program", write_another)
    line = one_line(
        samcache("export", trained.run, "--member", "seed-0", "--out", tmp_path / "p.pt2")
    )
    assert "was not kept" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("not_exported")
def test_samples_of_the_store_are_compared_with_what_predict_reads(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unrounded(Resize):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) // 2

    monkeypatch.setattr(export_module, "Resize", Unrounded)
    line = one_line(samcache("export", trained.run, "--out", tmp_path / "p.pt2"))
    assert "was not kept" in line


@pytest.mark.usefixtures("not_exported")
def test_samples_come_from_the_named_store_or_the_runs_own_or_none(
    trained: Trained, tmp_path: Path
) -> None:
    run = copied(trained.run, tmp_path / "run", store=str(tmp_path / "gone.zarr"))
    words = ["export", run, "--member", "seed-0"]
    assert "on 4 random inputs the" in samcache(*words).stdout
    assert (run / "seed-0.pt2").exists()
    assert "8 stored samples" in samcache(*words, "--store", trained.store).stdout
    other = trained.extract(tmp_path / "other.zarr", pool=1)
    assert "pool is 1" in one_line(samcache(*words, "--store", other))
    assert "no member 'seed-7'" in one_line(samcache("export", run, "--member", "seed-7"))


def test_weights_that_share_memory_are_written_without_a_word(tmp_path: Path) -> None:
    """As an encoder's do; warnings are errors here."""

    class Shared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(8.0)
            self.register_buffer("low", whole[:4])
            self.register_buffer("high", whole[4:])

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            low, high = self.get_buffer("low"), self.get_buffer("high")
            return given * low + high

    given = torch.ones(4)
    exportable = program_file.Exportable(Shared(), (given,), None, ["given"])
    program = program_file.write_program(exportable, tmp_path / "p.pt2", "torch")
    assert torch.equal(program(given), Shared()(given))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    line = one_line(samcache("export", trained.run, "--out", tmp_path / "x" / "program.pt2"))
    assert line.endswith(
        "(No space left on device): free some space, and run the same command again"
    )
    assert not list((tmp_path / "x").iterdir())
