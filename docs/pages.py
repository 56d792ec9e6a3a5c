"""Add pages from outside docs/ and the help of every command to the site.

MkDocs calls on_files and on_page_markdown by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

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
    """Add the benchmarks, the change log, the contributing guide and the page of commands."""
    places = {ROOT / name: place for name, place in ELSEWHERE.items()}
    places |= {path: f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md")}
    for path, place in places.items():
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    files.append(File.generated(config, "cli.md", content=render_commands_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between folders of the repository into links between pages."""
    if page.file.src_uri.startswith("benchmarks/"):
        return markdown.replace("](../docs/", "](../")
    for name, place in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{name})", f"]({place})")
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
