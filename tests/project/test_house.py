"""The house: data flows one way, only commands render and name options, folders stay small."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {  # room -> rooms that lie below it
    "cache": {"cache"},
    "extract": {"extract", "cache"},
    "train": {"train", "cache"},
    "api": {"api", "extract", "train", "cache"},
    "commands": {"commands", "extract", "train", "cache"},
}
BELOW_COMMANDS = ("cache", "extract", "train", "api")
MOST_ENTRIES = 14  # of one folder, so that it can be read at a glance
ROOMS_OF_COMMANDS = {"commands", "train"}  # one file a command, and there are more commands
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def files_of(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module if node.level == 0 and node.module else "a relative import")
    return names


def texts(tree: ast.Module) -> Iterator[str]:
    """The strings that a user may see: all but docstrings."""
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            docstrings.add(id(body[0].value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    wrong = []
    for path, tree in files_of(room):
        for name in imported_modules(tree):
            first, *rest = name.split(".")
            if first == "samcache" and rest and rest[0] not in MAY_IMPORT[room]:
                wrong.append(f"{path} imports {name}")
            if first in MAY_IMPORT or first == "a relative import":
                wrong.append(f"{path}: {name} should be samcache.{name}")
    assert not wrong


def arrows_between(parts: int) -> dict[str, set[str]]:
    """Each module or folder with those that it imports; parts: of a name, such as a room's two."""
    arrows: dict[str, set[str]] = {}
    for path, tree in files_of(*MAY_IMPORT):
        module = "samcache/" + path.removesuffix(".py").removesuffix("/__init__")
        name = ".".join(module.split("/")[:parts])
        arrows.setdefault(name, set()).update(
            ".".join(node.module.split(".")[:parts])
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "samcache"
        )
    return arrows


@pytest.mark.parametrize("parts", [99, 3], ids=["files", "entries at the top of a room"])
def test_no_imports_go_in_a_circle(parts: int) -> None:
    arrows = arrows_between(parts)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for other in arrows.get(name, set()) - ({name} if parts < 99 else set()):
                visit(other, (*way, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


@pytest.mark.parametrize(
    ("rooms", "banned"),
    [
        (("cache",), {"torch", "torchvision", "timm", "segment_anything"}),
        (BELOW_COMMANDS, {"rich", "click"}),
    ],
    ids=["cache knows no torch", "only commands render"],
)
def test_a_room_knows_no_library_of_another(rooms: tuple[str, ...], banned: set[str]) -> None:
    wrong = [
        f"{path} imports {name}"
        for path, tree in files_of(*rooms)
        for name in imported_modules(tree)
        if name.split(".")[0] in banned
    ]
    assert not wrong


def test_only_commands_name_options() -> None:
    wrong = [
        f"{path}: {text!r}"
        for path, tree in files_of(*BELOW_COMMANDS)
        for text in texts(tree)
        if FLAG.search(text)
    ]
    assert not wrong


def test_the_command_line_loads_no_torch() -> None:
    code = "import sys, samcache.cli, samcache.cache.care.info; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_folders_stay_small() -> None:
    for room in MAY_IMPORT:
        for folder in [ROOT / room, *(ROOT / room).rglob("*/")]:
            entries = [path.name for path in folder.iterdir() if not path.name.startswith("__")]
            if folder.name not in {*ROOMS_OF_COMMANDS, "__pycache__"}:
                assert len(entries) <= MOST_ENTRIES, f"{folder}: {sorted(entries)}"


def test_the_package_holds_every_folder() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    folders = {
        ".".join(("samcache", *path.parent.relative_to(ROOT).parts))
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*.py")
    }
    assert set(listed) == {"samcache", *folders}
