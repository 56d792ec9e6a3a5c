"""One bit of a run folder: every command gives exactly what it gave, or refuses in one line."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from trained_run import Trained, samcache

from samcache.cli import cli
from samcache.train.runs.program_file import Exportable

FLIPS = {"results.json": 40}  # of this file for every command; of the others:
FEW_FLIPS = 8
READ = {  # which files a command reads
    "predict": ("config.json", "results.json", "seed-0.safetensors"),
    "evaluate": ("config.json", "results.json", "seen.csv", "seed-0.safetensors"),
    "compare": ("config.json", "results.json", "predictions.csv"),
    "report": (
        "config.json",
        "results.json",
        "predictions.csv",
        "metrics.csv",
        "seen.csv",
        "seed-0.safetensors",
    ),
    "export": ("config.json", "results.json", "seen.csv", "seed-0.safetensors"),
}


@pytest.fixture(scope="module")
def small(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one seed without attention, whose commands take a moment."""
    out = tmp_path_factory.mktemp("flipped") / "run"
    return trained.train(out, attention="none", backbone="timm:test_resnet")


@pytest.fixture
def outcome(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Path], str]:
    """What a command gives of a run: its output and its file."""
    monkeypatch.setattr("samcache.train.export.write_program", _write_untraced)

    def of(command: str, run: Path) -> str:
        page = tmp_path / "page.html"
        words: dict[str, list[object]] = {
            "predict": [run, trained.store],
            "evaluate": [run, trained.store, "--json"],
            "compare": [run, "--format", "csv"],
            "report": [run, "--out", page],
            "export": [run, "--out", tmp_path / "program.pt2"],
        }
        result = samcache(command, *words[command])
        if result.exit_code:
            assert isinstance(result.exception, SystemExit), result.exception
            assert result.exit_code == 1
            (line,) = result.stderr.strip().splitlines()
            assert line.startswith("Error: ")
            return "refused"
        return result.stdout + (page.read_text() if command == "report" else "")

    return of


def _write_untraced(exportable: Exportable, path: Path, _style: str) -> object:
    """In place of tracing, which takes seconds: the module is its own program."""
    path.write_bytes(b"program")
    return exportable.module


def flipped(run: Path, name: str, seed: int) -> Iterator[tuple[int, int]]:
    """Places and bits of a file that were exchanged, one after another; whole again at the end."""
    whole = (run / name).read_bytes()
    rng = np.random.default_rng([seed, len(whole)])
    for _ in range(FLIPS.get(name, FEW_FLIPS)):
        place, bit = int(rng.integers(len(whole))), int(rng.integers(8))
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        (run / name).write_bytes(changed)
        yield place, bit
    (run / name).write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("command", READ)
def test_one_bit_changes_nothing_or_is_refused(
    command: str, small: Path, outcome: Callable[[str, Path], str], tmp_path: Path
) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    expected = outcome(command, run)
    assert expected != "refused"
    for name in READ[command]:
        for flip in flipped(run, name, seed=0):
            assert outcome(command, run) in (expected, "refused"), (name, flip)
    unread = {path.name for path in run.iterdir()} - set(READ[command])
    for name in unread:
        for flip in flipped(run, name, seed=1):
            assert outcome(command, run) == expected, (name, flip)
            break


@pytest.mark.parametrize("sealed", [True, False], ids=["new", "old"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["members"][0].update(fraction=0.5), "names other members than the folder"),
        (lambda r: r["members"][0].update(seed=4), "names other members than the folder"),
        (lambda r: r["fractions"][0].update(fraction=0.5), "no scores for a fraction"),
        (lambda r: r["fractions"][0]["metrics"]["auc"].update(mean=1e9), "an impossible auc"),
        (lambda r: r["fractions"][0]["metrics"]["auc"].update(mean=0.0), "auc 0, its predictions"),
    ],
)
def test_changed_results_are_refused_with_a_checksum_and_without(
    change: Callable[[dict[str, list[dict[str, object]]]], None],
    message: str,
    sealed: bool,
    small: Path,
    tmp_path: Path,
) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    if not sealed:
        del results["checksum"]
    change(results)
    (run / "results.json").write_text(json.dumps(results))
    done = CliRunner().invoke(cli, ["report", str(run), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    told = "results.json was changed since the run was finished" if sealed else message
    assert told in done.stderr


def test_another_spelling_of_the_same_results_is_read(small: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(dict(reversed(results.items())), indent=None))
    assert samcache("compare", run).exit_code == 0
