"""Systems: macOS's Python lacks what only Linux has; elsewhere one line says what is supported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from trained_run import Trained

WITHOUT_POSIX = """
import sys, os, signal, platform
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"), None))
platform.system = lambda: "Windows"
for name in ("preadv", "sysconf", "posix_fallocate", "sched_getaffinity", "O_NONBLOCK"):
    delattr(os, name)
for name in ("SIGALRM", "setitimer", "ITIMER_REAL"):
    delattr(signal, name)
"""
MACOS = """
import sys, os, pathlib
for name in ("posix_fallocate", "posix_fadvise", "sched_getaffinity"):
    delattr(os, name)

def hide(method):
    def hidden(self, *rest, **options):
        asked = pathlib.Path("/absent") if str(self).startswith("/proc/") else self
        return method(asked, *rest, **options)
    return hidden

for name in ("exists", "is_symlink", "readlink", "read_text", "open", "stat"):
    setattr(pathlib.Path, name, hide(getattr(pathlib.Path, name)))
"""
RUN = """
from samcache.cli import cli
for words in {commands!r}:
    try:
        cli(words, prog_name="samcache")
    except SystemExit as ended:
        if ended.code:
            raise
"""


def run(system: str, *commands: list[object]) -> subprocess.CompletedProcess[str]:
    """Commands in one process, which ends at the first that fails."""
    code = system + RUN.format(commands=[[*map(str, words)] for words in commands])
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [["doctor"], ["train", "x.zarr", "--out", "x"], ["--help"]])
def test_a_system_without_posix_locks_is_refused_in_one_line(words: list[str]) -> None:
    done = run(WITHOUT_POSIX, [*words])
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: samcache needs Linux or macOS, found Windows without")
    assert "WSL 2" in line


def test_a_library_user_there_reads_the_same() -> None:
    code = WITHOUT_POSIX + "\nimport samcache.train.runs.folder"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ImportError: samcache needs Linux or macOS")


def test_commands_run_without_what_only_linux_has(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "run"
    few = ["--seeds", 0, "--epochs", 1, "--image-size", 32, "--residency", "disk", "-q"]
    few += ["--backbone", "timm:test_resnet"]
    train = ["train", trained.store, "--out", out, *few]
    merge = ["cache", "merge", trained.store, "--out", tmp_path / "m.zarr", "-q"]
    done = run(MACOS, train, merge, ["doctor", "--json"])
    assert (out / "results.json").is_file(), done.stderr
    assert (tmp_path / "m.zarr").is_dir(), done.stderr
    assert done.returncode in (0, 1), done.stderr  # 1: little memory or disk
    checked = json.loads(done.stdout[done.stdout.index("[\n") :])
    assert checked[0]["subject"] == "Python"
