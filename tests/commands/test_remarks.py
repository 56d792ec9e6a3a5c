"""Remarks: said when something is new, never with -q, and the last one says what to do next."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from trained_run import Trained, draw_images, samcache

from samcache.cache.care.info import describe
from samcache.cache.store import Store
from samcache.commands.show.stores import make_info


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images, one of them torn."""
    draw_images(tmp_path / "images")
    (tmp_path / "images/train/benign/torn.png").write_bytes(b"torn")
    return tmp_path / "images"


def extract(images: Path, trained: Trained, *words: object) -> Result:
    store = images.parent / "s.zarr"
    encoder = ["--encoder", "vit_tiny", "--checkpoint", trained.checkpoint, "--pool", 2]
    return samcache("extract", images, "--store", store, *encoder, "--device", "cpu", *words)


def test_precision_is_told_once_and_quiet_tells_the_result_alone(
    images: Path, trained: Trained
) -> None:
    first = extract(images, trained)
    assert "against float32" in first.stdout
    assert first.stdout.count("torn.png: not an image format") == 1
    again = extract(images, trained)
    assert "against float32" not in again.stdout
    assert "against float32" in samcache("cache", "info", images.parent / "s.zarr").stdout
    quiet = extract(images, trained, "-q")
    assert quiet.stderr == ""
    done, *failed = quiet.stdout.splitlines()
    assert done.startswith("45 images in the store, 0 encoded in this run")
    assert failed[0].startswith("1 unreadable image recorded in the store")
    assert ["torn.png" in line for line in failed] == [False, True]


def test_recorded_unreadable_images_can_be_accepted_and_new_ones_are_not(
    images: Path, trained: Trained
) -> None:
    assert extract(images, trained, "--accept-unreadable").exit_code == 3  # not recorded before
    recorded = extract(images, trained)
    assert recorded.exit_code == 3
    assert "if the store already records them, --accept-unreadable makes it 0" in recorded.stderr
    accepted = extract(images, trained, "--accept-unreadable")
    assert accepted.exit_code == 0
    assert "1 unreadable image accepted as recorded before" in accepted.stdout
    assert "torn.png" not in accepted.stdout
    told = json.loads(extract(images, trained, "--accept-unreadable", "--json").stdout)
    assert told["accepted"] == list(told["unreadable"]) == ["train/benign/torn.png"]
    (images / "train/benign/empty.png").write_bytes(b"")
    more = extract(images, trained, "--accept-unreadable")
    assert more.exit_code == 3
    assert "empty.png" in more.stdout
    assert extract(images, trained, "--accept-unreadable").exit_code == 0
    assert extract(images, trained, "--accept-unreadable", "--plan").exit_code == 2


@pytest.mark.parametrize("name", ["images", "shards", "[red]set"])
def test_info_shows_the_state_of_a_data_set_of_any_name(
    trained: Trained, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    description = describe(Store(trained.store))
    description["dataset"]["name"] = name
    Console().print(make_info(description))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == [name, "complete"]
    assert {"images", "shards"} <= {line[0] for line in lines[1:] if line}


def test_each_command_ends_with_what_to_do_next(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    train = ["train", "s.zarr", "--epochs", 1, "--seeds", 0, "--image-size", 32]
    train += ["--backbone", "timm:test_resnet"]
    store = "next: samcache train {0} --out RUN, or samcache probe {0}".format
    run = "{0} holds the run; next: samcache report {0}, or samcache compare {0} OTHER".format
    for result, line in (
        (extract(tmp_path / "images", trained), store(tmp_path / "s.zarr")),
        (samcache(*train, "--out", "runs/a"), run("runs/a")),
        (samcache("cache", "merge", "s.zarr", "--out", "m.zarr"), store("m.zarr")),
        (samcache("cache", "merge", "s.zarr", "--out", "a b.zarr"), store("'a b.zarr'")),
    ):
        assert result.exit_code == 0
        assert result.stderr.splitlines()[-1] == line
        assert "next:" not in result.stdout
    for result in (
        extract(tmp_path / "images", trained, "-q"),
        extract(tmp_path / "images", trained, "--json"),
        samcache("-q", *train, "--out", "runs/b"),
        samcache("cache", "merge", "s.zarr", "--out", "n.zarr", "--json"),
        samcache("cache", "gc", "s.zarr", "-q"),
    ):
        assert result.exit_code == 0
        assert "next:" not in result.output
