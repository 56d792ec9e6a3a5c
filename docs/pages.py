"""Add pages from outside docs/, notebooks and the help of every command to the site.

MkDocs calls on_files and on_page_markdown by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import json
import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from samcache.cli import cli

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
WIDTH = 92


def on_files(files: Files, config: Any) -> Files:
    """Add benchmarks, change log, contributing guide, notebooks and the page of commands."""
    places = {ROOT / name: place for name, place in ELSEWHERE.items()}
    places |= {path: f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md")}
    for path, place in places.items():
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    files.append(File.generated(config, "cli.md", content=render_commands_page()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"{path.stem}.md", content=render_notebook(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between folders of the repository into links between pages."""
    if page.file.src_uri.startswith("benchmarks/"):
        return markdown.replace("](../docs/", "](../")
    for name, place in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{name})", f"]({place})")
    markdown = re.sub(r"\]\(notebooks/([\w-]+)\.ipynb\)", r"](\1.md)", markdown)
    return re.sub(r"\]\((?:\.\./|docs/)", "](", markdown)


def render_commands_page() -> str:
    """Render the help of every command as one page."""
    parts = [
        "# The command line",
        "The help of every command, as `--help` prints it, in the order in which you use them.",
    ]
    for words, command in _list_commands(cli, ("samcache",)):
        parts.append(f"{'#' * min(3, 1 + len(words))} {' '.join(words)}")
        parts.append(f"```text\n{_render_help(words, command)}\n```")
    return "\n\n".join(parts) + "\n"


def render_notebook(path: Path) -> str:
    """Render the cells of a notebook as a page: text, and code without its outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(f"```python\n{t}\n```" if kind == "code" else t for kind, t in texts) + "\n"


def _list_commands(
    command: click.Command, words: tuple[str, ...]
) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(words, command)]
    for name, below in (command.commands if isinstance(command, click.Group) else {}).items():
        found += _list_commands(below, (*words, name))
    return found


def _render_help(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(
        command, info_name=" ".join(words), terminal_width=WIDTH, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)
