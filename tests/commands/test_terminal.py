"""Commands in a terminal: help, order, quiet, verbose, Ctrl-C, completion, colours."""

import json
import os
import pty
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from samcache.cache.store import Store
from samcache.cli import cli
from samcache.train.fit.checkpoint import Checkpoints

ROOT = Path(__file__).parents[2]
TINY = ("--image-size", 32, "--backbone", "timm:test_resnet")


def commands(group: click.Group = cli, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command there is by its words, groups too."""
    found = [before] if not before else []
    for name, command in group.commands.items():
        found.append((*before, name))
        if isinstance(command, click.Group):
            found += commands(command, (*before, name))
    return found


def samcache(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="samcache")


@pytest.fixture
def store(store: Store) -> Path:
    return Path(store.location)


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words) or "samcache")
def test_every_help_has_an_example_to_copy(words: tuple[str, ...]) -> None:
    result = samcache(*words, "--help")
    assert result.exit_code == 0
    examples = [line.strip() for line in result.output.splitlines()]
    assert any(line.startswith(" ".join(("samcache", *words)) + " ") for line in examples)


def test_a_reader_that_has_gone_is_no_error() -> None:
    """As in ``samcache … | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "samcache.cli", "completion", "bash"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_help_loads_nothing_heavy() -> None:
    """The time of --help is that of what it imports."""
    code = (
        "import sys; from click.testing import CliRunner; from samcache.cli import cli\n"
        f"for words in {commands()!r}: CliRunner().invoke(cli, [*words, '--help'])\n"
        "print(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "pandas", "zarr", "h5py", "rich", "timm", "sklearn", "PIL"}
    assert not heavy & set(done.stdout.split())


def test_commands_are_listed_as_the_work_goes() -> None:
    listed = cli.list_commands(click.Context(cli))
    order = ["extract", "probe", "train", "compare", "cache", "doctor", "completion"]
    assert [name for name in listed if name in order] == order


@pytest.mark.parametrize("words", [["-q", "cache", "verify"], ["cache", "verify", "-q"]])
def test_quiet_leaves_the_result_alone(words: list[str], store: Path) -> None:
    result = samcache(*words, store)
    assert result.stderr == ""
    assert "no damage" in result.stdout


def test_quiet_commands_still_tell_errors(tmp_path: Path) -> None:
    result = samcache("-q", "train", tmp_path / "no.zarr", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no store at")


def test_verbose_tells_what_was_decided_and_when(store: Path, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "run", "--epochs", 1, "--seeds", 0, *TINY, "-v"]
    told = samcache("train", store, *words).stderr
    assert "memory has" in told
    assert "epoch 1: val loss" in told
    assert told.split(":")[0].strip("[").isdecimal()
    silent = samcache("train", store, *words[:-1], "--overwrite").stderr
    assert "memory has" not in silent


def test_quiet_and_verbose_exclude_each_other(store: Path) -> None:
    assert samcache("-q", "cache", "verify", store, "-v").exit_code == 2


def interrupted(monkeypatch: pytest.MonkeyPatch, place: str, after: int) -> None:
    """Ctrl-C at a call of a function, when it has done its work so many times."""
    module, *names, name = place.split(":")
    owner: Any = import_module(module)
    for part in names:
        owner = getattr(owner, part)
    whole, calls = getattr(owner, name), []

    def stopping(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) > after:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(owner, name, stopping)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["copy", "STORE", "made.zarr"], "samcache.cache.care.transfer.shards:Transfer:copy"),
        (["merge", "STORE", "--out", "made.zarr"], "samcache.cache.care.merge:_merge_shard"),
        (["import", "made.h5", "made.zarr"], "samcache.cache.care.hdf5.store:_import_shard"),
    ],
)
def test_ctrl_c_leaves_a_store_that_the_same_command_completes(
    words: list[str], place: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert samcache("cache", "export", store, "made.h5").exit_code == 0
    words = ["cache", *(str(store) if word == "STORE" else word for word in words)]
    with monkeypatch.context() as stopped:
        interrupted(stopped, place, after=1)
        result = samcache(*words)
    assert result.exit_code == 130
    assert "Stopped by SIGINT: run the same command again to continue" in result.stderr
    assert samcache("cache", "diff", store, "made.zarr").exit_code == 1
    assert samcache(*words).exit_code == 0
    assert samcache("cache", "diff", store, "made.zarr").exit_code == 0


def test_ctrl_c_while_exporting_leaves_no_file(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    interrupted(monkeypatch, "samcache.cache.care.hdf5.store:_write_shard", after=1)
    result = samcache("cache", "export", store, tmp_path / "out" / "made.h5")
    assert result.exit_code == 130
    assert "no partial file was left" in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


INTERRUPTED_IMPORT = """
import sys

class CtrlC:
    def find_spec(self, name, *rest):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
"""


def test_ctrl_c_before_the_command_line_is_there_is_one_line() -> None:
    words = [sys.executable, "-c", INTERRUPTED_IMPORT + "import samcache.cli"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "Stopped by SIGINT before any work began\n"


def test_ctrl_c_while_only_reading_says_that_nothing_is_half_done(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, "samcache.cache.care.verify:verify", after=0)
    result = samcache("cache", "verify", store)
    assert result.exit_code == 130
    assert "no partial output was left" in result.stderr


def test_ctrl_c_in_train_goes_on_after_the_last_epoch(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", store, "--out", tmp_path / "run", "--epochs", 3, "--seeds", 0]
    words += [*TINY, "-v"]
    monkeypatch.setattr(Checkpoints, "due", True)  # or else not every epoch is saved
    with monkeypatch.context() as stopped:
        interrupted(stopped, "samcache.train.fit.training:_Training:run_epoch", after=2)
        result = samcache(*words)
    assert result.exit_code == 130
    assert "resume after the last saved epoch" in result.stderr
    again = samcache(*words)
    assert again.exit_code == 0
    assert "epoch 3" in again.stderr
    assert "epoch 2:" not in again.stderr


@pytest.mark.parametrize("words", [["copy"], ["merge"], ["export"], ["repair"], ["info"], ["ls"]])
def test_what_a_program_reads_is_json(
    words: list[str], store: Path, npz: Path, checkpoint: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    rest: dict[str, list[object]] = {
        "copy": [store, made],
        "merge": [store, "--out", made],
        "export": [store, made.with_suffix(".h5")],
        "repair": [store, "--source", npz, "--checkpoint", checkpoint],
        "info": [store],
        "ls": [store.parent],
    }
    result = samcache("cache", *words, *rest[words[0]], "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


@pytest.mark.parametrize(
    ("given", "begun", "found"),
    [
        ([], "extr", ["extract"]),
        (["cache"], "ver", ["verify"]),
        (["extract", "images", "--encoder"], "vit_t_", ["vit_t_med"]),
        (["train", "s", "--attention"], "sh", ["shuffled"]),
        (["extract", "images", "--sh"], "--sh", ["--shard-rows"]),
    ],
)
def test_the_tab_key_completes_commands_options_and_choices(
    given: list[str], begun: str, found: list[str]
) -> None:
    shell = ShellComplete(cli, {}, "samcache", "_SAMCACHE_COMPLETE")
    assert [item.value for item in shell.get_completions(given, begun)] == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(shell: str) -> None:
    result = samcache("completion", shell)
    assert result.exit_code == 0
    assert f"_SAMCACHE_COMPLETE={shell}_complete" in result.stdout


def in_terminal(words: list[str], **environment: str) -> str:
    """What a command writes to a terminal, with its control sequences."""
    leader, follower = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        [sys.executable, ROOT / "cli.py", *words],
        stdout=follower,
        stderr=follower,
        env={**plain, "TERM": "xterm-256color", **environment},
        check=True,
    )
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(leader)
    return written.decode()


def test_colours_are_for_terminals_and_for_those_who_want_them(store: Path) -> None:
    words = ["cache", "verify", str(store)]
    assert "\x1b[3" in in_terminal(words)
    assert "\x1b[3" not in in_terminal(words, NO_COLOR="1")
    assert "\x1b" not in samcache(*words).output
