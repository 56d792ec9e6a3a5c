"""All that a store promises holds for every kind of encoder: samcache's, timm's, and a user's."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tiny_encoder import build_tiny, random_weights
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from samcache.cache.format.precision import Precision
from samcache.cache.store import Store
from samcache.extract.doctor import examine_machine
from samcache.extract.encoders.load import find_level_shapes, load_encoder
from samcache.extract.encoders.of_identity import GivenEncoder
from samcache.extract.encoders.registry import ENCODERS, LEVELS, find_architecture
from samcache.extract.images.preprocess import normalise, parse_preprocessing, to_frame
from samcache.extract.live import open_live_encoder
from samcache.extract.options import ExtractOptions
from samcache.extract.plan import plan_run
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.run import extract
from samcache.extract.sources.inputs import open_inputs
from samcache.extract.sources.options import SourceOptions

PAGE = Path(__file__).parents[3] / "docs" / "other-encoders.md"
OWN = "lab:ResNet18"  # of the page


@dataclass(frozen=True)
class Kind:
    """A kind of encoder: an input side that keeps it fast, and a real file or random weights."""

    side: int
    file: str = ""  # in SAMCACHE_WEIGHTS
    build: Callable[[], nn.Module] | None = None
    prefix: str = ""  # of the names in a published file


def _build_timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=0, **options)


# One of each kind: samcache's other encoders and timm's large models have the same code.
KINDS = {
    "vit_tiny": Kind(64, build=build_tiny, prefix="image_encoder."),  # SAM's code, 30,000 weights
    "vit_t": Kind(64, "mobile_sam.pt"),
    "vit_t_med": Kind(32, "lite_medsam.pth"),
    "sam2_t": Kind(128, "sam2_hiera_tiny_encoder_fp16.safetensors"),
    "timm:test_vit": Kind(64, build=_build_timm("test_vit", img_size=64)),
    "timm:test_convnext": Kind(64, build=_build_timm("test_convnext")),
    "timm:test_efficientnet": Kind(64, build=_build_timm("test_efficientnet")),
    OWN: Kind(64, build=resnet18),
}


@dataclass(frozen=True)
class Case:
    """An encoder with weights, a folder of images, and a store that holds their features."""

    folder: Path
    options: ExtractOptions
    store: Store

    @property
    def given(self) -> GivenEncoder:
        own = self.options.encoder if self.options.encoder == OWN else ""
        return GivenEncoder(self.options.checkpoint, own)

    def make_options(self, name: str, **changes: Any) -> ExtractOptions:
        return replace(self.options, store=self.folder / name, **changes)


@pytest.fixture(scope="module", autouse=True)
def code_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example of the page as a module that Python finds."""
    folder = tmp_path_factory.mktemp("code")
    found = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    (folder / "lab.py").write_text(found[1], "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    sys.modules.pop("lab", None)


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("encoder")
    kind = KINDS[request.param]
    _draw_images(folder / "images")
    options = ExtractOptions(
        source=folder / "images",
        store=folder / "toy.zarr",
        encoder=request.param,
        checkpoint=_find_weights(kind, folder),
        image_size=kind.side,
        frame_size=16,
        views="flips",
        device="cpu",
        shard_rows=4,
    )
    extract(options)
    return Case(folder, options, Store(options.store))


def _find_weights(kind: Kind, folder: Path) -> Path:
    if kind.file:
        path = Path(os.environ.get("SAMCACHE_WEIGHTS", "")) / kind.file
        if not path.is_file():
            pytest.skip(f"SAMCACHE_WEIGHTS has no {kind.file}")
        return path
    assert kind.build is not None
    weights = random_weights(kind.build(), 0)
    weights |= {name: w.abs() + 0.5 for name, w in weights.items() if name.endswith("_var")}
    torch.save({kind.prefix + name: weight for name, weight in weights.items()}, folder / "w.pt")
    return folder / "w.pt"


def _draw_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


def _read_all(store: Store) -> dict[str, np.ndarray]:
    count = len(store.samples)
    return {level: store.read_features(level, 0, count) for level in store.identity.levels}


def _assert_close(found: np.ndarray, expected: np.ndarray, level: str) -> None:
    scale = np.abs(expected.astype(np.float32)).max()
    difference = np.abs(found.astype(np.float32) - expected.astype(np.float32)).max()
    assert difference <= 2e-3 * scale, level  # float16, and sums in another order


def test_every_encoder_of_the_table_has_five_levels_and_says_where_its_weights_are() -> None:
    for name in ENCODERS:
        architecture = find_architecture(name)
        if architecture.official is None:
            continue  # the tests' own
        shapes = find_level_shapes(architecture, LEVELS, architecture.image_size)
        assert tuple(shapes) == LEVELS
        assert shapes["neck"] == (256, 64, 64)


def test_the_store_holds_what_the_network_computes(case: Case) -> None:
    store, identity = case.store, case.store.identity
    architecture = find_architecture(case.options.encoder)
    assert identity.encoder == architecture.name
    assert case.options.checkpoint is not None
    loaded = load_encoder(architecture, case.options.checkpoint, LEVELS, identity.image_size)
    interpolation = parse_preprocessing(identity.preprocessing).interpolation
    kept = _read_all(store)
    for row, name in enumerate(store.samples["id"]):
        with Image.open(case.options.source / name) as image:
            turned = (image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        for view, pixels in zip((0, identity.views.index("flip_h")), turned, strict=True):
            frame, extent = to_frame(pixels, identity.image_size, interpolation)
            batch = torch.from_numpy(frame)[None]
            with torch.inference_mode():
                maps = loaded.model(normalise(batch, [extent], identity.preprocessing))
            for level, values in kept.items():
                pooled = F.avg_pool2d(maps[level].float(), identity.pool)[0].numpy()
                _assert_close(values[row, view], pooled, level)


def test_the_precision_of_every_level_is_measured(case: Case) -> None:
    precision = Precision.from_provenance(case.store.provenance)
    assert precision is not None
    assert set(precision.levels) == set(LEVELS)
    assert all(level.cosine_min > 0.9999 for level in precision.levels.values())


@pytest.mark.parametrize("precision", ["bfloat16"])
def test_lower_precision_stays_near_float32(case: Case, precision: str) -> None:
    options = case.make_options(f"{precision}.zarr", precision=precision, views="identity")
    extract(options)
    measured = Precision.from_provenance(Store(options.store).provenance)
    assert measured is not None
    assert all(level.cosine_min > 0.98 for level in measured.levels.values())


def test_the_plan_is_what_a_run_writes(case: Case) -> None:
    planned = plan_run(case.make_options("planned.zarr"))
    assert (planned.rows, planned.shards) == (6, 2)
    assert planned.speed is not None
    written = {
        path: sum(
            file.stat().st_size
            for file in (Path(case.options.store) / path / "c").rglob("*")
            if file.is_file()
        )
        for path in planned.bytes
    }
    assert written == planned.bytes


def test_a_store_has_the_bytes_of_one_core_whatever_the_number_of_cores(
    case: Case, threads: Callable[[int], None]
) -> None:
    stores = []
    for count in (1, 3):
        threads(count)
        options = case.make_options(f"cores-{count}.zarr", views="identity")
        extract(options)
        stores.append(_read_all(Store(options.store)))
    assert all(np.array_equal(stores[0][level], stores[1][level]) for level in LEVELS)


def test_copied_features_are_encoded_by_nobody(case: Case) -> None:
    options = case.make_options("copied.zarr", reuse=(str(case.options.store),))
    summary = extract(options)
    assert (summary.encoded, summary.copied) == (0, 6)
    found, expected = _read_all(Store(options.store)), _read_all(case.store)
    assert all(np.array_equal(found[level], expected[level]) for level in LEVELS)


def test_a_lost_object_is_encoded_again(case: Case) -> None:
    options = case.make_options("damaged.zarr")
    extract(options)
    (Path(options.store) / "features/neck/c/0/0/0/0/0").unlink()
    given = case.given
    summary = repair(RepairOptions(options.store, options.source, given.checkpoint, given.code))
    assert (summary.encoded, summary.left) == (4, [])
    for level, values in _read_all(Store(options.store)).items():
        _assert_close(values, _read_all(case.store)[level], level)


def test_new_images_are_encoded_as_the_stored_ones(case: Case) -> None:
    live = open_live_encoder(case.store.identity, case.given, "cpu", None)
    inputs = open_inputs([str(case.options.source)], SourceOptions(), hash_ids=False)
    stored = _read_all(case.store)
    for encoded in live.fill_stores(inputs):
        for level, values in _read_all(encoded).items():
            _assert_close(values[:, 0], stored[level][:, 0], level)


def test_doctor_knows_the_file_by_its_hash(case: Case) -> None:
    assert case.options.checkpoint is not None
    findings = examine_machine((case.options.checkpoint,), ())
    *_, found = [f for f in findings if f.subject == case.options.checkpoint.name]
    assert found.ok
    assert ("SHA-256" in found.found) != (case.options.encoder in found.found)
