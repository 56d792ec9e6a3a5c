"""Editors and mypy find the package by stubs, from a clone of any name; the tree holds no link."""

import runpy
import subprocess
from pathlib import Path

import pytest
from documented_commands import ROOT

SCRIPT = ROOT / ".ci" / "write_stubs.py"
SOURCE = '"""One."""\n_LIMIT: int = 3\n\n\ndef _help() -> None: ...\n\n\nclass Public: ...\n'


def test_a_stub_leads_to_each_file_and_old_ones_go(tmp_path: Path) -> None:
    for name in ("__init__.py", "cli.py", "room/__init__.py", "room/a.py", "tests/test_a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE if name == "room/a.py" else "", encoding="utf-8")
    old = tmp_path / ".typings" / "samcache" / "gone.pyi"
    old.parent.mkdir(parents=True)
    old.touch()
    (tmp_path / ".ci").mkdir()
    copy = tmp_path / ".ci" / SCRIPT.name
    copy.write_bytes(SCRIPT.read_bytes())
    runpy.run_path(str(copy), run_name="__main__")
    stubs = tmp_path / ".typings" / "samcache"
    found = {str(path.relative_to(stubs)) for path in stubs.rglob("*.pyi")}
    assert found == {"__init__.pyi", "cli.pyi", "room/__init__.pyi", "room/a.pyi"}
    assert (stubs / "room" / "__init__.pyi").read_text() == "from room import *\n"
    assert (stubs / "room" / "a.pyi").read_text().splitlines() == [
        "from room.a import *",
        "from room.a import _LIMIT as _LIMIT",
        "from room.a import _help as _help",
    ]


def test_the_repository_holds_no_link() -> None:
    """An editor, or ``zip -r``, would follow it and find the same files under other names."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a clone: no list of files")
    assert not [line for line in listed.stdout.splitlines() if line.startswith("120000")]
