"""What is stored is measured against float32 first, and what does not fit stops the run."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import saved
from PIL import Image
from rich.console import Console
from shown import summary_text
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import Extract
from torch import Tensor

from samcache.cache.care.info import describe
from samcache.cache.create import store_exists
from samcache.cache.errors import CheckpointError, ConfigError
from samcache.cache.format.identity import Identity
from samcache.cache.format.precision import Precision
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.commands.show.stores import make_info
from samcache.extract.encoders.base import LevelEncoder
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.pipeline.batch_encoder import BatchEncoder
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.exactness import measure_precision, read_probe_images
from samcache.extract.pipeline.read.rows import ReadyImage
from samcache.extract.pipeline.reduction import cast_maps, refuse_lost_values
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def precision_of(store: Store) -> Precision:
    found = Precision.from_provenance(store.provenance)
    assert found is not None
    return found


def test_storing_float32_loses_nothing_and_float16_its_rounding(run_extract: Extract) -> None:
    exact = precision_of(run_extract("exact", dtype="float32")[0])
    assert (exact.images, exact.device, tuple(exact.levels)) == (8, "cpu", LEVELS)
    for figures in exact.levels.values():
        assert figures.cosine_min == pytest.approx(1, abs=1e-12)
        assert figures.max_relative_error == 0
    rounded = precision_of(run_extract("rounded", dtype="float16")[0])
    for figures in rounded.levels.values():
        assert 2**-16 < figures.max_relative_error <= 2**-11
        assert 1 - 1e-6 < figures.cosine_min < 1


def test_the_figures_are_those_of_the_stored_values(run_extract: Extract) -> None:
    """Checked by the definition, on a source of eight images: the probe set is all of it."""
    exact, _ = run_extract("exact", dtype="float32", limit=8)
    store, _ = run_extract("rounded", dtype="float16", limit=8)
    for level, figures in precision_of(store).levels.items():
        a = exact.read_features(level, 0, 8).reshape(8, -1).astype(np.float64)
        b = store.read_features(level, 0, 8).reshape(8, -1).astype(np.float64)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine = (a * b).sum(axis=1) / norms
        error = np.abs(a - b).max(axis=1) / np.abs(a).max(axis=1)
        assert figures.cosine_mean == pytest.approx(cosine.mean(), abs=1e-9)
        assert figures.cosine_min == pytest.approx(cosine.min(), abs=1e-9)
        assert figures.max_relative_error == pytest.approx(error.max(), rel=1e-2)


class HalfArithmetic(LevelEncoder):
    """An encoder whose maps come out in bfloat16's values; counts the images of its passes."""

    def __init__(self, exact: LevelEncoder, passes: list[int]) -> None:
        super().__init__(exact.levels)
        self.exact, self.passes = exact, passes

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.passes.append(len(x))
        return {level: full.bfloat16() for level, full in self.exact(x).items()}

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return weights

    def prepare(self, dtype: torch.dtype) -> None:
        """Nothing: it is ready as it is."""


def configured(
    npz: Path, checkpoint: Path, passes: list[int], precision: str
) -> tuple[BatchEncoder, list[ReadyImage], LevelEncoder]:
    """A run's encoder, the probe set of a source, and the encoder in float32."""
    exact = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS)
    identity = Identity(
        "vit_tiny", exact.weights, "sam", 64, 0, LEVELS, 1, "float32", precision=precision
    )
    model = HalfArithmetic(exact.model, passes)
    made = BatchEncoder(model, torch.device("cpu"), identity)
    return made, read_probe_images(open_source(npz, SourceOptions()), identity), exact.model


def test_half_arithmetic_is_measured_against_float32(npz: Path, checkpoint: Path) -> None:
    passes: list[int] = []
    encoder, images, exact = configured(npz, checkpoint, passes, "bfloat16")
    measured = measure_precision(encoder, BatchSize(3), images, exact)
    assert measured is not None
    for figures in measured.levels.values():
        assert 2**-12 < figures.max_relative_error <= 2**-8, "bfloat16 keeps eight bits"
        assert figures.cosine_min <= figures.cosine_mean < 1
        assert figures.cosine_min < 1 - 1e-7
    assert passes == [3, 3, 2], "in the run's batches, once"


def test_memory_that_runs_out_is_met_with_half_of_the_images_there_are(
    npz: Path, checkpoint: Path
) -> None:
    """Not with half of a batch that they do not fill, which is the same once more."""
    passes: list[int] = []
    encoder, images, exact = configured(npz, checkpoint, passes, "bfloat16")
    batch = BatchSize(64, fixed=False)

    def full(x: Tensor) -> dict[str, Tensor]:
        if len(passes) < 2:
            passes.append(len(x))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return HalfArithmetic.forward(encoder.model, x)

    encoder.model.forward = full
    assert measure_precision(encoder, batch, images, exact) is not None
    assert passes == [8, 4, 2, 2, 2, 2]
    assert batch.size == 64, "which images fit beside the reference is not the run's matter"


def test_a_run_in_half_precision_loads_the_reference_anew(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samcache.extract import target

    asked: list[object] = []
    monkeypatch.setattr(
        target,
        "measure_precision",
        lambda _encoder, _batch, images, exact: asked.extend((len(images), exact)),
    )
    run_extract("exact")
    assert asked == [8, None], "a float32 run is its own reference"
    identity = target._make_identity
    monkeypatch.setattr(
        target, "_make_identity", lambda *a: replace(identity(*a), precision="bfloat16")
    )
    run_extract("half")
    assert isinstance(asked[3], LevelEncoder)


def test_arithmetic_that_overflows_is_told_its_option(npz: Path, checkpoint: Path) -> None:
    encoder, _, _ = configured(npz, checkpoint, [], "float16")
    kept, largest = cast_maps(torch.full((1, 2, 4, 4), float("inf")), encoder.identity.dtype)
    with pytest.raises(ConfigError, match=r"level neck: 32 values.*arithmetic: use float32"):
        refuse_lost_values("neck", kept.numpy(), float(largest), encoder.identity.precision)


def test_the_identity_does_not_depend_on_what_was_measured(run_extract: Extract) -> None:
    store, _ = run_extract()
    other, _ = run_extract("other", limit=5)
    assert precision_of(store).images == 8
    assert precision_of(other).images == 5
    assert store.fingerprint == other.fingerprint


def test_it_is_measured_once_and_shown(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, summary = run_extract()
    assert "against float32 (8 images, cpu):" in summary_text(summary)
    assert "  neck: cosine 0.9999999" in summary_text(summary)
    monkeypatch.setattr(
        "samcache.extract.target.measure_precision", lambda *_: pytest.fail("again")
    )
    _, again = run_extract()
    assert "cosine" not in summary_text(again), "nothing was measured"
    output = StringIO()
    Console(file=output, width=120).print(make_info(describe(store)))
    assert "against float32, 8 images on cpu" in output.getvalue()
    assert json.dumps(describe(store)["provenance"]["precision"]["levels"]["neck"])


def test_others_stand_in_for_unreadable_images(run_extract: Extract, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(24)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(saved(Image.new("L", (8, 8), 9 * number), "PNG"))
    for name in names[::2]:
        (tmp_path / name).write_bytes(b"")
    lines = [f"{name},{'xy'[number % 3 == 0]}" for number, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class", *lines]))
    store, _ = run_extract(source=tmp_path / "labels.csv")
    assert precision_of(store).images == 8


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"precision": 3},
        {"precision": {"images": 8, "device": "cpu", "levels": {"neck": {"cosine_mean": "x"}}}},
        {"precision": {"images": "many", "device": "cpu", "levels": {}}},
    ],
)
def test_odd_provenance_says_nothing(said: dict[str, object]) -> None:
    assert Precision.from_provenance(said) is None


def broken_checkpoint(folder: Path, value: float) -> Path:
    weights = torch.load(save_tiny_checkpoint(folder / "w.pth"), weights_only=True)
    weights["image_encoder.patch_embed.proj.bias"] += value
    torch.save(weights, folder / "w.pth")
    return folder / "w.pth"


def test_the_probe_stops_what_does_not_fit_before_there_is_a_store(
    run_extract: Extract, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"level patch has .* float16 cannot hold.*use float32"):
        run_extract(checkpoint=broken_checkpoint(tmp_path, 1e5))
    assert not store_exists(open_objects(tmp_path / "toy.zarr"))


def test_what_the_probe_did_not_see_stops_the_run_too(
    run_extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samcache.extract.target.measure_precision", lambda *_: None)
    with pytest.raises(ConfigError, match=r"level patch has .* float16 cannot hold.*use float32"):
        run_extract(checkpoint=broken_checkpoint(tmp_path, 1e5))
    assert Store(tmp_path / "toy.zarr").commits == {}


def test_values_that_round_down_to_the_greatest_of_the_storage_dtype_fit(
    npz: Path, checkpoint: Path
) -> None:
    identity = replace(configured(npz, checkpoint, [], "float32")[0].identity, dtype="float16")

    def check(value: float) -> None:
        kept, largest = cast_maps(torch.full((1, 1, 2, 2), value), identity.dtype)
        refuse_lost_values("neck", kept.numpy(), float(largest), identity.precision)

    check(65519)
    with pytest.raises(ConfigError, match=r"level neck has 4 values that float16 cannot hold"):
        check(65520)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_that_are_no_numbers_are_refused_in_any_precision(
    run_extract: Extract, tmp_path: Path, precision: str
) -> None:
    path = broken_checkpoint(tmp_path, float("nan"))
    with pytest.raises(CheckpointError, match=r"is damaged: 1 weight .* holds NaN"):
        run_extract(checkpoint=path, dtype="float32", precision=precision)


def test_an_encoder_that_gives_no_numbers_is_told_apart(
    run_extract: Extract, tmp_path: Path
) -> None:
    path = broken_checkpoint(tmp_path, 3e38)
    with pytest.raises(ConfigError, match=r"level \w+: 384 values are not finite: the checkpoint"):
        run_extract(checkpoint=path, dtype="float32")


def test_statistics_that_overflow_stop_the_run(run_extract: Extract, tmp_path: Path) -> None:
    """The store would be called damaged by whoever checks it."""
    weights = torch.load(save_tiny_checkpoint(tmp_path / "w.pth"), weights_only=True)
    weights["image_encoder.patch_embed.proj.weight"] *= 1e22
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="the variance of a level exceeds float32"):
        run_extract(checkpoint=tmp_path / "w.pth", dtype="float32", levels=("patch",))
