"""A small folder of images, its store by the tiny encoder, and runs trained from it."""

import json
import shutil
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from samcache.cache.files.digest import hash_file
from samcache.cli import cli
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.extract.sources.options import SourceOptions
from samcache.train.config import TrainConfig
from samcache.train.run import train
from samcache.train.runs.folder import seal_results

QUIET = Console(file=StringIO())
COUNTS = {"train": 12, "val": 4, "test": 6}  # of each class


@dataclass(frozen=True)
class Trained:
    """Where the images, their store, the encoder's weights and a run lie."""

    images: Path
    store: Path
    checkpoint: Path
    run: Path

    def train(self, out: Path, **changes: object) -> Path:
        """Another run from the same store."""
        config = TrainConfig(
            self.store, out, epochs=1, seeds=(0,), image_size=32, batch_size=8,
            backbone="timm:test_resnet",
        )  # fmt: skip
        train(replace(config, **changes))  # type: ignore[arg-type]
        return out

    def extract(self, store: Path, source: Path | None = None, **changes: object) -> Path:
        """Another store, with the same settings but for the changes."""
        options = ExtractOptions(
            source or self.images, store, "vit_tiny", self.checkpoint, pool=2, shard_rows=8
        )
        extract(replace(options, **changes))  # type: ignore[arg-type]
        return store


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Trained:
    """A run of two seeds, made once; nobody changes it."""
    folder = tmp_path_factory.mktemp("trained")
    trained = Trained(folder / "images", folder / "toy.zarr", checkpoint, folder / "run")
    draw_images(trained.images)
    trained.extract(trained.store)
    trained.train(trained.run, seeds=(0, 1), epochs=2, lr=1e-2)  # predictions that differ
    return trained


def draw_images(folder: Path, seed: int = 3) -> None:
    """Class folders under split folders; images of several shapes, one class brighter."""
    rng = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for label, name in enumerate(("benign", "malign")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (20 + number % 3 * 8, 28, 3)
                pixels = rng.integers(0, 120, shape) + 60 * label
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / split / name / f"{name}{number:02d}.png")


def own_predictions(run: Path) -> pd.DataFrame:
    """What a run itself has written: the mean over members of each probability, by id."""
    table = pd.read_csv(run / "predictions.csv")
    return table.groupby("id")[[name for name in table if name.startswith("p_")]].mean()


def copied(run: Path, folder: Path, **changes: object) -> Path:
    """A copy of a run, as if other options had been written into its config.json."""
    shutil.copytree(run, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    results = json.loads((folder / "results.json").read_text())
    results["files"]["config.json"] = hash_file(folder / "config.json")
    write_results(folder, results)
    return folder


def write_results(run: Path, results: dict[str, Any]) -> None:
    """Put other results into a run, as if train had written them."""
    content = {name: value for name, value in results.items() if name != "checksum"}
    (run / "results.json").write_text(json.dumps(seal_results(content)))


def windowed(low: float, high: float) -> SourceOptions:
    """A source read through a window."""
    return SourceOptions(window=(low, high))


def samcache(*words: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words])


def one_line(result: Result) -> str:
    """The error that a user sees, which is one line."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    *_, line = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line
