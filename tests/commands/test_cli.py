"""The commands as a user types them: output, exit status, one line for every mistake."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from image_files import draw
from store_content import uncommit

from samcache.cache.store import Store
from samcache.cli import cli
from samcache.commands.cache import cache
from samcache.extract.encoders.load import resolve_levels
from samcache.extract.encoders.registry import LEVELS, list_architectures

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """Run samcache in this process."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words])

    return run


@pytest.fixture
def extracted(command: Command, npz: Path, checkpoint: Path, tmp_path: Path) -> Path:
    store = tmp_path / "toy.zarr"
    words = ["extract", npz, "--store", store, "--encoder", "vit_tiny", "--checkpoint", checkpoint]
    result = command(*words, "--pool", 2, "--shard-rows", 16)
    assert result.exit_code == 0, result.output
    assert "40 images in the store, 40 encoded in this run" in result.stdout
    return store


def test_extract_info_train_from_the_command_line(
    command: Command, extracted: Path, tmp_path: Path
) -> None:
    info = command("cache", "info", extracted)
    assert info.output.split()[:2] == ["toy", "complete"]
    assert "train" in info.output
    as_json = json.loads(command("cache", "info", extracted, "--json").output)
    assert as_json["counts"]["train"] == {"0": 12, "1": 12}
    assert as_json["levels"]["neck"]["shape"] == [40, 1, 256, 2, 2]
    assert as_json["shards"]["missing"] == []

    words = ["train", extracted, "--out", tmp_path / "run", "--epochs", 1, "--seeds", "0,1"]
    result = command(*words, "--image-size", 32, "--batch-size", 8)
    assert result.exit_code == 0, result.output
    assert "±" in result.stdout
    assert (tmp_path / "run" / "results.json").exists()


def one_line(result: Result) -> str:
    """The error, which must be one line, after whatever progress was shown."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    *_, line = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert result.stderr.count("Error") == 1
    return line


def test_mistakes_end_in_one_line(
    command: Command, npz: Path, checkpoint: Path, extracted: Path, tmp_path: Path
) -> None:
    tail = ["--store", tmp_path / "new.zarr", "--encoder", "vit_tiny", "--checkpoint"]
    assert "no such file" in one_line(command("extract", tmp_path / "no.npz", *tail, checkpoint))
    assert "no checkpoint at" in one_line(command("extract", npz, *tail, tmp_path / "no.pth"))
    (tmp_path / "bad.pth").write_bytes(b"x")
    assert "bad.pth" in one_line(command("extract", npz, *tail, tmp_path / "bad.pth"))
    with np.load(npz) as file:
        np.savez(tmp_path / "p.npz", **{**file, "val_labels": np.array([{}] * 8)})
    assert "pickled" in one_line(command("extract", tmp_path / "p.npz", *tail, checkpoint))
    assert "multiple of 16" in one_line(
        command("extract", npz, *tail, checkpoint, "--image-size", 40)
    )
    assert "no store at" in one_line(command("cache", "info", tmp_path / "no.zarr"))
    training = ["train", tmp_path / "no.zarr", "--out", tmp_path / "run"]
    assert "no store at" in one_line(command(*training))
    (tmp_path / "file").write_text("")
    elsewhere = ["--store", tmp_path / "file" / "s.zarr", "--encoder", "vit_tiny", "--checkpoint"]
    assert "Not a directory" in one_line(
        command("extract", npz, *elsewhere, checkpoint, "--pool", 1)
    )
    assert "pool is 2 in the store, 1 in this run" in one_line(
        command(
            "extract", npz, "--store", extracted, "--encoder", "vit_tiny",
            "--checkpoint", checkpoint, "--pool", 1,
        )
    )  # fmt: skip
    assert json.loads(command("cache", "info", extracted, "--json").output)["missing"] == 0


def test_unreadable_images_set_the_exit_status(
    command: Command, checkpoint: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "labels.csv"
    manifest.write_text("file,class\na.png,x\nb.png,y\nc.png,y\n")
    draw(tmp_path / "c.png", 0)
    words = ["extract", manifest, "--encoder", "vit_tiny", "--checkpoint", checkpoint, "--pool", 1]
    result = command(*words, "--store", tmp_path / "s.zarr")
    assert result.exit_code == 3
    assert "2 unreadable images recorded in the store" in result.stdout
    strict = command(*words, "--store", tmp_path / "t.zarr", "--strict")
    assert "a.png: cannot be read" in one_line(strict)


def test_verify_names_the_damage_and_sets_the_exit_status(
    command: Command, extracted: Path
) -> None:
    well = command("cache", "verify", extracted)
    assert well.exit_code == 0
    assert "no damage" in well.stdout
    path = extracted / "features/neck/c/1/0/0/0/0"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1  # of the index
    path.write_bytes(data)
    assert command("cache", "verify", extracted, "--fast").exit_code == 0
    damaged = command("cache", "verify", extracted)
    assert damaged.exit_code == 1
    assert "features/neck/c/1/0/0/0/0 has another checksum: costs 16 samples" in damaged.stdout
    assert "  val/000000" in damaged.stdout
    as_json = json.loads(command("cache", "verify", extracted, "--json").stdout)
    assert len(as_json["lost"]) == 16


def test_interruption_says_how_to_resume(
    command: Command, npz: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("samcache.extract.pipeline.shard_encoder.ShardEncoder.encode", interrupted)
    words = ["--store", tmp_path / "s.zarr", "--encoder", "vit_tiny", "--checkpoint", checkpoint]
    result = command("extract", npz, *words, "--pool", 1)
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["extract"],
        ["extract", "x", "--store", "s", "--encoder", "resnet"],
        ["extract", "x", "--store", "s", "--shard-rows", "65537"],
        ["train", "s", "--out", "r", "--seeds", "0,one"],
        ["train", "s", "--out", "r", "--device", "abacus"],
        ["train", "s", "--out", "r", "--device", "meta"],
        ["train", "s", "--out", "r", "--lr", "nan"],
        ["train", "s", "--out", "r", "--mixup", "inf"],
        ["cache", "info"],
    ],
)
def test_wrong_usage_exits_with_2(command: Command, words: list[str]) -> None:
    assert command(*words).exit_code == 2


def test_lists_of_numbers_are_asked_for_with_an_example(command: Command) -> None:
    told = command("train", "s", "--out", "r", "--seeds", "0,one").stderr
    assert "'0,one' should be whole numbers, such as 0,1,2" in told
    told = command("train", "s", "--out", "r", "--fractions", "half").stderr
    assert "'half' should be numbers, such as 0.1,0.5,1" in told


def leaf_commands() -> list[tuple[str, ...]]:
    alone = [(name,) for name in sorted(cli.commands) if name != "cache"]
    return [*alone, *(("cache", name) for name in sorted(cache.commands))]


@pytest.mark.parametrize("value", ["Auto", "0", "1.5"])
def test_neither_auto_nor_a_number_is_told_what_is(command: Command, value: str) -> None:
    output = command("extract", "x", "--batch-size", value).output
    assert f"'{value}' should be auto or a whole number from 1" in output


@pytest.mark.parametrize("words", leaf_commands(), ids=" ".join)
def test_every_command_shows_an_example(command: Command, words: tuple[str, ...]) -> None:
    output = command(*words, "--help").output
    assert output.count(f"samcache {' '.join(words)}") >= 1
    assert "Usage:" in output


def test_a_store_is_shared_from_the_command_line(
    command: Command, extracted: Path, npz: Path, checkpoint: Path, tmp_path: Path
) -> None:
    def told(*words: object, status: int = 0) -> str:
        result = command("cache", *words)
        assert result.exit_code == status, result.output
        return result.stdout

    copied, other = tmp_path / "copy.zarr", tmp_path / "imported.zarr"
    told("copy", extracted, copied)
    told("export", extracted, tmp_path / "toy.h5")
    told("import", tmp_path / "toy.h5", other)
    for store in (copied, other):
        told("diff", extracted, store)
    told("merge", extracted, "--out", tmp_path / "merged.zarr")
    rows = json.loads(told("ls", tmp_path, "--json"))
    names = ["copy.zarr", "imported.zarr", "merged.zarr", "toy.zarr"]
    assert sorted(Path(row["location"]).name for row in rows) == names
    assert "complete" in told("ls", tmp_path)

    (copied / "features/neck/c/0/0/0/0/0").write_bytes(b"")
    uncommit(Store(copied), 1)
    assert "Nothing was removed" in command("cache", "gc", copied).stderr
    assert "features/neck/c/1/0/0/0/0" in told("gc", copied, "--delete")
    assert not (copied / "features/neck/c/1/0/0/0/0").exists()
    told("verify", copied, status=1)
    told("diff", extracted, copied, status=1)
    told("copy", copied, tmp_path / "half.zarr", status=1)
    mended = told("repair", copied, "--source", npz, "--checkpoint", checkpoint)
    assert "16 images encoded" in mended
    assert "16 samples without a commit record" in told("verify", copied)


def test_every_encoder_has_the_five_levels_and_an_official_file() -> None:
    for name, architecture in list_architectures():
        levels = resolve_levels(architecture, LEVELS)
        assert tuple(levels) == LEVELS
        assert architecture.official or name == "vit_tiny"


def test_python_cli_py_works_from_the_root() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "cli.py", "--version"], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"0.1.0" in done.stdout


def test_a_plan_is_told_and_nothing_is_written(
    command: Command, npz: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["extract", npz, "--encoder", "vit_tiny", "--checkpoint", checkpoint, "--pool", 1]
    words += ["--store", tmp_path / "s.zarr"]
    told = command(*words, "--plan")
    assert told.exit_code == 0, told.output
    assert "40 images, 40 to encode" in told.stdout
    assert "Nothing was written." in told.stdout
    planned = json.loads(command(*words, "--plan", "--json").stdout)
    assert (planned["rows"], planned["objects"]) == (40, 8)
    assert planned["total_bytes"] == sum(planned["bytes"].values())
    assert planned["seconds"] > 0
    assert not (tmp_path / "s.zarr").exists()
    done = json.loads(command(*words, "--json").stdout)
    assert (done["encoded"], done["unreadable"]) == (40, {})


def test_of_a_job_one_process_tells_the_plan(
    command: Command, npz: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["extract", npz, "--encoder", "vit_tiny", "--checkpoint", checkpoint, "--pool", 1]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, told in (("0", "with 2 workers"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        result = command(*words, "--store", tmp_path / "s.zarr", "--plan")
        assert result.exit_code == 0, result.output
        assert told in result.stdout
        assert bool(result.stdout) == (rank == "0")


def test_a_plan_and_a_check_are_two_things(command: Command, npz: Path) -> None:
    refused = command("extract", npz, "--plan", "--check")
    assert refused.exit_code == 2
    assert "--plan and --check exclude each other" in refused.stderr
