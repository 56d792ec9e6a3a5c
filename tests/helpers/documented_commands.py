"""The shell commands of the documentation, as a reader would paste them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SHELLS = ("sh", "bash", "shell", "console")
_BEGINS = ("samcache ", "torchrun ", "srun ", "make ", "pip ", "python ", "export ", "git ")


@dataclass(frozen=True)
class Command:
    """One command: the words of ``line``, with variables set before it as NAME=value."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        """As the shell splits them, without its comments."""
        return shlex.split(self.line, comments=True)

    @property
    def is_samcache(self) -> bool:
        """Whether samcache itself is started."""
        return self.words[:1] == ["samcache"]


def pages() -> list[Path]:
    """README first, then every page of docs/, whoever wrote it."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[Command]:
    """The commands of a page in order: of fenced shell blocks, and of indented ones."""
    name = page.relative_to(ROOT).as_posix()
    found = []
    for block in _run_blocks(page.read_text(encoding="utf-8").splitlines()):
        for line in "\n".join(block).replace("\\\n", " ").splitlines():
            text = " ".join(line.removeprefix("$ ").split())
            if text and not text.startswith("#"):
                found.append(Command(name, text))
    return found


def _run_blocks(lines: list[str]) -> Iterator[list[str]]:
    fence, block = None, list[str]()
    for line in lines:
        opened = re.match(r"\s*```+\s*(\w*)", line)
        if opened and fence is None:
            fence = opened[1]
        elif opened:
            if fence in _SHELLS:
                yield [text.strip() for text in block]
            fence, block = None, []
        elif fence is not None:
            block.append(line)
        elif line.startswith("    ") and (block or line.strip().startswith(_BEGINS)):
            block.append(line.strip())
            if not line.endswith("\\"):
                yield block
                block = []
