"""What a finished run's files hold is what was written: changed ones are refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from trained_run import Trained, copied, one_line, samcache

from samcache.cache.files import digest
from samcache.cache.files.digest import hash_file
from samcache.cache.files.regular_file import open_regular
from samcache.train.model.backbones import build_backbone


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
    assert all(hash_file(run / name) == digest for name, digest in told.items())


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_one_bit_of_the_weights_is_noticed(trained: Trained, run: Path, command: str) -> None:
    flip(run / "seed-1.safetensors", -3)
    assert load_file(run / "seed-1.safetensors"), "a number stays a number"
    words = (command, run) if command == "export" else (command, run, trained.store)
    line = one_line(samcache(*words))
    assert "holds no weights of this run (seed-1.safetensors was changed since" in line
    assert line.endswith("copy it from the original run folder, or train it again")


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
    without_checksums(run)
    with (run / "config.json").open("a") as file:
        file.write("\n")
    for words in (("compare", run), ("predict", run, trained.store)):
        assert samcache(*words).exit_code == 0, words


def test_pretrained_weights_are_told_by_their_bytes(trained: Trained, tmp_path: Path) -> None:
    weights = tmp_path / "resnet.safetensors"
    save_file(build_backbone("timm:test_resnet", 2).net.state_dict(), weights)
    run = trained.train(tmp_path / "run", attention="none", pretrained=str(weights))
    told = json.loads((run / "config.json").read_text())["pretrained_sha256"]
    assert told == hash_file(weights)
    page = tmp_path / "page.html"
    assert samcache("report", run, "--out", page).exit_code == 0
    assert f"resnet.safetensors (SHA-256 {told[:16]})" in page.read_text()


def test_runs_that_cannot_predict_are_refused_in_one_line(trained: Trained, tmp_path: Path) -> None:
    shuffled = trained.train(tmp_path / "shuffled", attention="shuffled")
    assert "cannot predict" in one_line(samcache("predict", shuffled, trained.store))
    (tmp_path / "empty").mkdir()
    (tmp_path / "stopped" / "checkpoints").mkdir(parents=True)
    for name, advice in (
        ("empty", "give a folder that samcache train wrote"),
        ("stopped", "run the same samcache train command to finish it"),
    ):
        line = one_line(samcache("predict", tmp_path / name, trained.store))
        assert "no finished run" in line
        assert advice in line
    old = copied(trained.run, tmp_path / "old", inputs=None)
    assert "train it again" in one_line(samcache("predict", old, trained.store))
    swapped = copied(trained.run, tmp_path / "swapped")
    (swapped / "seed-1.safetensors").write_bytes(b"x")
    assert "seed-1.safetensors holds no weights of this run (seed-1.safetensors was changed" in (
        one_line(samcache("predict", swapped, trained.store))
    )


@pytest.mark.parametrize("words", [("predict",), ("predict", "--json"), ("evaluate",)])
def test_weights_that_give_no_numbers_are_damaged(
    trained: Trained, tmp_path: Path, words: tuple[str, ...]
) -> None:
    run = copied(trained.run, tmp_path / "run")
    tensors = load_file(run / "seed-1.safetensors")
    name = next(name for name in tensors if name.endswith("fc.weight"))
    save_file(tensors | {name: torch.full_like(tensors[name], 3e38)}, run / "seed-1.safetensors")
    without_checksums(run)
    command, *options = words
    line = one_line(samcache(command, run, trained.store, *options))
    assert "seed-1.safetensors is damaged: its predictions are not numbers; train the run" in line


def without_checksums(run: Path) -> None:
    """Make of a run one that a samcache of before checksums has written."""
    results = json.loads((run / "results.json").read_text())
    del results["files"], results["checksum"]
    (run / "results.json").write_text(json.dumps(results))


def test_weights_that_are_missing_or_not_to_be_read_are_not_called_damaged(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(trained.run, tmp_path / "run")
    weights = run / "seed-1.safetensors"

    def refuse(path: Path) -> int:
        if path == weights:
            raise PermissionError(13, "Permission denied", str(path))
        return open_regular(path)

    with monkeypatch.context() as patch:
        patch.setattr(digest, "open_regular", refuse)
        line = one_line(samcache("predict", run, trained.store))
    assert "seed-1.safetensors cannot be read (Permission denied)" in line
    weights.unlink()
    line = one_line(samcache("predict", run, trained.store))
    assert "seed-1.safetensors is missing: copy it from" in line
