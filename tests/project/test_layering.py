"""Data flows one way: cli -> commands -> extract, train -> cache; and cache knows no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {
    "cache": {"cache"},
    "extract": {"extract", "cache"},
    "train": {"train", "cache"},
    "commands": {"commands", "extract", "train", "cache"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below_them(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name in imported_modules(path):
        parts = name.split(".")
        assert parts[0] not in ROOMS, f"import samcache.{name}"
        if parts[0] == "samcache":
            assert parts[1] in ROOMS[room], f"{room} must not import {name}"
        if room == "cache":
            assert parts[0] not in ("torch", "torchvision", "timm", "segment_anything")


def test_cache_and_the_command_line_load_no_torch() -> None:
    code = (
        "import sys, samcache.cli, samcache.cache.store, samcache.cache.care.info;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cli_is_the_only_module_at_the_root() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"cli.py", "setup.py"}


@pytest.mark.parametrize("path", [*FILES, ROOT / "cli.py"], ids=lambda path: path.name)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
