"""Numbers and nouns agree: of one thing, every output speaks in the singular."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_encoder import save_tiny_checkpoint

from samcache.cache.text import count_are, count_nouns
from samcache.cli import cli

# "1 images", "1 unreadable images"; not "1 of 3 samples", nor the seconds of "1.1 s"
ONE_OF_MANY = re.compile(
    r"(?<![\d.,:-])1 (?:[a-z]+ )?(?:images|samples|shards|objects|rows|files|classes|members|cores"
    r"|groups|folds|processes|workers|values|stores|copies|entries|levels)\b"
)


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [(1, "image", "1 image is"), (2, "image", "2 images are"), (0, "class", "0 classes are")],
)
def test_a_count_agrees_with_its_noun_and_verb(count: int, noun: str, said: str) -> None:
    assert count_are(count, noun) == said
    assert said.startswith(count_nouns(count, noun))


@pytest.fixture
def one_image(tmp_path: Path) -> Path:
    """A manifest of one image."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "one.csv").write_text("file,class,split\na.png,x,train\n")
    (tmp_path / "bad.csv").write_text("file,class,split\nno.png,x,train\n")
    (tmp_path / "two.csv").write_text("file,class,split\na.png,x,train\nno.png,x,train\n")
    save_tiny_checkpoint(tmp_path / "tiny.pth")
    return tmp_path


def test_one_image_is_never_called_images(one_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(one_image)
    made = "--encoder vit_tiny --checkpoint tiny.pth --pool 2 --shard-rows 1"
    for line in (
        "extract one.csv --check",
        "extract bad.csv --check",
        f"extract one.csv --store s.zarr {made} --plan",
        f"extract one.csv --store s.zarr {made}",
        f"extract one.csv --store s.zarr {made}",
        f"extract two.csv --store s.zarr {made}",
        f"extract one.csv --store s.zarr {made}",
        f"extract one.csv --store s.zarr {made} --prune",
        "cache info s.zarr",
        "cache ls .",
        "cache verify s.zarr",
        "cache copy s.zarr c.zarr",
        "cache diff s.zarr c.zarr",
        "cache merge s.zarr --out m.zarr",
        "cache export s.zarr s.h5",
        "cache import s.h5 i.zarr",
        "cache gc s.zarr",
        "cache repair s.zarr --source one.csv --checkpoint tiny.pth",
        "probe s.zarr",
        "train s.zarr --out r",
        "doctor s.zarr",
    ):
        result = CliRunner().invoke(cli, line.split())
        assert result.exception is None or isinstance(result.exception, SystemExit), line
        said = " ".join(result.output.split())
        assert not ONE_OF_MANY.findall(said), f"samcache {line}: {said}"


def test_help_says_required_of_what_is_required() -> None:
    for command in cli.commands.values():
        for option in command.params:
            said = "required" in (getattr(option, "help", "") or "")
            assert not said or option.required, f"{command.name} {option.name}"
