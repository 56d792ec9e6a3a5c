"""Encoders that users write: which code is imported, and what a changed code means."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samcache.cache.errors import CheckpointError, ConfigError, StoreError
from samcache.cache.store import Store
from samcache.extract.encoders.load import find_level_shapes
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.encoders.registry import find_architecture, list_registered
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract

CODE = """
from torch import nn
from samcache import OwnEncoder


class Small(OwnEncoder):
    version = "1"
    image_size = 16
    granularity = 8
    depth = 2
    named = {"early": 0, "middle": 0, "late": 1}

    def __init__(self, image_size, levels):
        super().__init__(image_size, levels)
        self.first = nn.Conv2d(3, 4, 4, stride=4)

    def compute_maps(self, x):
        x = self.first(x)
        yield "patch", x
        yield 0, x * 2
        yield 1, x * 3
        yield "neck", x * 4


def make():
    return Small


class Odd(Small):
    version = "new version!"


class Bare(OwnEncoder):
    version = "1"


class Lacking(Small):
    def compute_maps(self, x):
        yield "patch", self.first(x)


class Failing(Small):
    def compute_maps(self, x):
        raise RuntimeError("no such size")


class Picky(Small):
    def adapt(self, weights):
        return {"first.weight": weights["kernel"], "first.bias": weights["offset"]}


def fail():
    raise OSError("no settings")


number = 5
"""
LEVELS_OF_SMALL = ("patch", "0", "late", "neck")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module ``mine`` in the current folder, which the test may change."""
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    sys.modules.pop("mine", None)


@pytest.fixture
def options(code: Path, npz: Path) -> ExtractOptions:
    weights = code.with_suffix(".pt")
    torch.manual_seed(0)
    torch.save({"first.weight": torch.randn(4, 3, 4, 4), "first.bias": torch.randn(4)}, weights)
    return ExtractOptions(
        source=npz,
        store=code.with_suffix(".zarr"),
        encoder="mine:Small",
        checkpoint=weights,
        levels=LEVELS_OF_SMALL,
        device="cpu",
    )


def test_a_store_records_name_version_and_source_of_the_code(options: ExtractOptions) -> None:
    extract(options)
    store = Store(options.store)
    name, _, made_by = store.identity.encoder.partition("@")
    assert (name, made_by[:2], len(made_by)) == ("mine:Small", "1+", 18)
    assert store.layout.level_shapes["neck"] == (4, 1, 1)
    neck, patch = (store.read_features(level, 0, 5) for level in ("neck", "patch"))
    torch.testing.assert_close(torch.tensor(neck), torch.tensor(patch) * 4)


def test_changed_code_is_another_encoder(options: ExtractOptions, code: Path) -> None:
    extract(options)
    identity = Store(options.store).identity
    code.write_text(CODE.replace("x * 4", "x * 5"))
    sys.modules.pop("mine", None)
    with pytest.raises(StoreError, match=r"encoder is 'mine:Small@1\+\w+' in the store"):
        extract(options)
    with pytest.raises(CheckpointError, match=r"made by 'mine:Small@1\+\w+', found mine:Small@1"):
        load_encoder_of(identity, GivenEncoder(options.checkpoint, "mine:Small"))


@pytest.mark.parametrize("recorded", ["mine:Small", "mine:Small@1+0123456789abcdef", "os:path@1"])
def test_no_store_decides_what_is_imported(options: ExtractOptions, recorded: str) -> None:
    extract(options)
    identity = replace(Store(options.store).identity, encoder=recorded)
    sys.modules.pop("mine", None)
    for allowed in ("", "mine:Other"):
        with pytest.raises(CheckpointError, match="name it to import it"):
            load_encoder_of(identity, GivenEncoder(options.checkpoint, allowed))
    assert "mine" not in sys.modules


def test_weights_that_the_code_cannot_adapt_do_not_fit(options: ExtractOptions) -> None:
    weights = {"weight": torch.zeros(1)}
    assert options.checkpoint is not None
    torch.save(weights, options.checkpoint)
    with pytest.raises(CheckpointError, match=r"does not fit encoder mine:Picky.* 1 unknown"):
        extract(replace(options, encoder="mine:Picky"))


def test_a_package_registers_an_encoder(options: ExtractOptions, tmp_path: Path) -> None:
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[samcache.encoders]\nsmall = mine:Small\nvit_b = mine:Small\n"
    )
    sys.path.append(str(tmp_path))
    assert list_registered() == {"small": "mine:Small"}  # nobody takes samcache's own names
    assert "mine" not in sys.modules
    extract(replace(options, encoder="small"))
    assert Store(options.store).identity.encoder.startswith("small@1+")


@pytest.mark.usefixtures("code")
def test_a_function_may_return_the_class() -> None:
    assert find_architecture("mine:make").name.startswith("mine:make@1+")


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:Absent", r"cannot be imported \(AttributeError: .*: check the name"),
        ("absent:Small", r"cannot be imported \(ModuleNotFoundError: .*in the current folder"),
        ("mine:fail", r"cannot be imported \(OSError: no settings\)"),
        ("mine:number", "should be a class that derives from samcache.OwnEncoder.*found int"),
        ("mine:Odd", "version 'new version!' of encoder mine:Odd should be 1 to 32 letters"),
        ("mine:Bare", "does not say its image_size, granularity, depth, named"),
        ("mine/../x:Small", "should be package.module:name"),
        ("unknown", "unknown encoder 'unknown': expected vit_b"),
        ("vit_bb", "unknown encoder 'vit_bb': do you mean vit_b?"),
    ],
)
def test_code_that_gives_no_encoder_is_refused(name: str, message: str) -> None:
    with pytest.raises((ConfigError, CheckpointError), match=message) as caught:
        find_architecture(name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:Lacking", "gives no map for level late: choose other levels"),
        ("mine:Failing", r"cannot encode an image of 16 px \(RuntimeError: no such size\)"),
    ],
)
def test_an_encoder_that_fails_says_so_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_level_shapes(find_architecture(name), ("patch", "late"), 16)
