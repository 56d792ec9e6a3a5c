"""Inputs that many tests share: small sources, a tiny encoder, and the real files where present."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exported_programs import not_exported
from reported_runs import reported_runs
from runs_of_kinds import runs_of_kinds
from servers import aws, failing, nginx, refusing, s3, s3_server
from stages import stage_root
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import Extract, write_npz
from trained_run import trained
from web_server import web

from samcache.cache.store import Store
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.extract.summary import ExtractSummary

# the fixtures of other modules
__all__ = ["aws", "failing", "nginx", "refusing", "s3", "s3_server", "stage_root", "trained", "web"]
__all__ += ["not_exported", "reported_runs", "runs_of_kinds"]


def _folder_from(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: no real files here")
    return Path(value).resolve()


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    """Only a power cut, which no test makes, needs data to be on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch uses; as before after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with BreastMNIST, RetinaMNIST and ISIC 2017."""
    return _folder_from("SAMCACHE_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with MobileSAM's and LiteMedSAM's checkpoints."""
    return _folder_from("SAMCACHE_WEIGHTS")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the tiny encoder."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.pth")


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Forty grey images of two classes."""
    return write_npz(tmp_path / "toy.npz")


@pytest.fixture(scope="session")
def toy_store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty grey images of two classes by the tiny encoder; nobody changes it."""
    folder = tmp_path_factory.mktemp("toy")
    extract(_toy_options(write_npz(folder / "toy.npz"), folder / "toy.zarr", checkpoint))
    return folder / "toy.zarr"


@pytest.fixture
def store(toy_store: Path, tmp_path: Path) -> Store:
    """A copy of the toy store, for a test to train from, to damage or to change."""
    shutil.copytree(toy_store, tmp_path / "toy.zarr")
    return Store(tmp_path / "toy.zarr")


def _toy_options(source: Path, store: Path, checkpoint: Path) -> ExtractOptions:
    return ExtractOptions(
        source, store, "vit_tiny", checkpoint, pool=2, batch_size=3, shard_rows=8,
        precision="float32",  # the same on every machine
    )  # fmt: skip


@pytest.fixture
def run_extract(npz: Path, checkpoint: Path, tmp_path: Path) -> Extract:
    """Extract with the tiny encoder into ``<tmp>/<name>.zarr``; keywords override the options."""

    def run(name: str = "toy", **changes: object) -> tuple[Store, ExtractSummary]:
        options = _toy_options(npz, tmp_path / f"{name}.zarr", checkpoint)
        settings = replace(options, **changes)  # type: ignore[arg-type]
        summary = extract(settings)
        return Store(settings.store), summary

    return run
