"""What a finished run's files hold is what was written: changed ones are refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from trained_run import Trained, one_line, samcache

from samcache.cache.digest import file_sha256
from samcache.train.backbones import build_backbone


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(trained.run, tmp_path / "run")


def flip(path: Path, place: int) -> None:
    """Exchange one bit of a file: what a disk does without a word."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_results_tell_every_other_file_of_the_folder(run: Path) -> None:
    told = json.loads((run / "results.json").read_text())["files"]
    assert told.keys() == {path.name for path in run.iterdir() if path.is_file()} - {"results.json"}
    assert all(file_sha256(run / name) == digest for name, digest in told.items())


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_one_bit_of_the_weights_is_noticed(trained: Trained, run: Path, command: str) -> None:
    flip(run / "seed-1.safetensors", -3)
    assert load_file(run / "seed-1.safetensors"), "a number stays a number"
    words = (command, run) if command == "export" else (command, run, trained.store)
    line = one_line(samcache(*words))
    assert "holds no weights of this run (seed-1.safetensors was changed since" in line
    assert line.endswith("bring it from where the run was trained, or train it anew")


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("config.json", ("compare", "report", "predict", "evaluate", "export")),
        ("predictions.csv", ("compare", "report")),
        ("metrics.csv", ("report",)),
        ("seen.csv", ("evaluate",)),
    ],
)
def test_a_file_that_lost_its_last_line_is_noticed_by_whoever_reads_it(
    trained: Trained, run: Path, name: str, commands: tuple[str, ...]
) -> None:
    lines = (run / name).read_text().splitlines(keepends=True)
    (run / name).write_text("".join(lines[:-1]) + ("}  \n" if name == "config.json" else ""))
    for command in commands:
        more = {"predict": [trained.store], "evaluate": [trained.store]}.get(command, [])
        line = one_line(samcache(command, run, *more))
        assert f"{name} was changed since the run was finished" in line, command


def test_a_run_of_before_checksums_is_read_as_it_is(trained: Trained, run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    del results["files"]
    (run / "results.json").write_text(json.dumps(results))
    with (run / "config.json").open("a") as file:
        file.write("\n")
    for words in (("compare", run), ("predict", run, trained.store)):
        assert samcache(*words).exit_code == 0, words


def test_pretrained_weights_are_told_by_their_bytes(trained: Trained, tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.safetensors"
    save_file(build_backbone("resnet18", 2).net.state_dict(), weights)
    run = trained.train(tmp_path / "run", attention="none", pretrained=str(weights))
    told = json.loads((run / "config.json").read_text())["pretrained_sha256"]
    assert told == file_sha256(weights)
    page = tmp_path / "page.html"
    assert samcache("report", run, "--out", page).exit_code == 0
    assert f"resnet18.safetensors (SHA-256 {told[:16]})" in page.read_text()
