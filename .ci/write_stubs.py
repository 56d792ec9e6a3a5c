"""Write ``.typings``: stubs that lead the name ``samcache.x`` to the file ``x.py`` of this clone.

The package's folder is the repository's root, so no folder is called samcache, unless the clone is.
Python finds it by the installation; editors and mypy do not. Each stub imports the names of one
file. Names lead to their file, and not to a copy of it under another path, so an editor finds every
reference to them.
"""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUBS = ROOT / ".typings"


def package_files() -> Iterator[Path]:
    """The files of the package, relative to the root."""
    yield from (Path("__init__.py"), Path("cli.py"))
    for room in sorted(ROOT.glob("*/__init__.py")):
        yield from (path.relative_to(ROOT) for path in sorted(room.parent.rglob("*.py")))


def private_names(path: Path) -> Iterator[str]:
    """Names with one underscore that a file defines: ``import *`` leaves them out."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        names = [getattr(node, "name", ""), *(getattr(one, "id", "") for one in targets)]
        yield from (name for name in names if name.startswith("_") and not name.startswith("__"))


def write_stub(file: Path) -> None:
    """Write the stub of one file."""
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    names = ["*", *(f"{name} as {name}" for name in dict.fromkeys(private_names(ROOT / file)))]
    stub = STUBS / "samcache" / file.with_suffix(".pyi")
    stub.parent.mkdir(parents=True, exist_ok=True)
    stub.write_text("".join(f"from {module} import {name}\n" for name in names), encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(STUBS, ignore_errors=True)
    for file in package_files():
        write_stub(file)
