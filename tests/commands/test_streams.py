"""Names from outside are shown with visible escapes, whichever way they are printed."""

import os
import pty
import subprocess
import sys
from io import StringIO
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.progress import Progress
from tiny_extraction import Extract

from samcache.cache.errors import StoreError
from samcache.cache.text import escape_controls
from samcache.commands.terminal.group import Samcache, make_console
from samcache.commands.terminal.streams import open_console, visible_streams

# a title set by OSC, a colour, C1's CSI, DEL, right-to-left override and isolate, markup, emoji
NAME = "a\x1b]0;owned\x1b[31mb\x9b2J\x7f\u202egpj\u2066.png[red]:smile:"
SHOWN = r"a\x1b]0;owned\x1b[31mb\x9b2J\x7f\u202egpj\u2066.png[red]:smile:"
SAMCACHE = [sys.executable, "-c", "from samcache.cli import cli; cli()"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (NAME, SHOWN),
        ("plain and ünïcödé, 日本語, עברית, a\tb\n", "plain and ünïcödé, 日本語, עברית, a\tb\n"),
        ("\r 10 %", "\r 10 %"),
        ("line\r\n", "line\r\n"),
        ("\udcff", r"\udcff"),
        ("\u2028\u200f\u061c\x00\x85\a\b\rx", r"\u2028\u200f\u061c\x00\x85\x07\x08\x0dx"),
    ],
)
def test_controls_become_visible(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert escape_controls(shown) == shown


def _fail() -> None:
    raise StoreError(NAME)


def _track() -> None:
    with Progress(console=make_console()) as progress:
        progress.console.print(NAME)
        print(NAME)


PRINTED = {
    "echo": lambda: click.echo(NAME),
    "echo of an error": lambda: click.echo(NAME, err=True),
    "error": _fail,
    "print": lambda: print(NAME),
    "a file of its own": lambda: sys.stderr.writelines([NAME, "\n"]),
    "console": lambda: make_console().print(NAME),
    "progress": _track,
    "table": lambda: open_console(width=200).print(NAME, markup=False),
}


@pytest.mark.parametrize("way", PRINTED)
def test_no_way_of_printing_lets_a_control_through(way: str) -> None:
    group = Samcache(commands=[click.Command("say", callback=PRINTED[way])])
    shown = CliRunner().invoke(group, ["say"], color=True).output  # color: click removes none
    assert not set("\x1b\x07\x9b\x7f\u202e\u2066\x08") & set(shown)
    assert SHOWN in shown.replace("\n", "")


def test_colours_of_its_own_reach_a_terminal() -> None:
    with visible_streams():
        written = StringIO()
        made = open_console(force_terminal=True, color_system="standard")
        made.file = written
        made.print("[green]ok[/green]")
    assert "\x1b[32mok" in written.getvalue()


def test_a_terminal_of_few_letters_ends_no_command() -> None:
    words = [*SAMCACHE, "cache", "info", "é\u202e"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, r"\xe9\u202e" in done.stderr) == (1, True)


def test_a_command_in_a_terminal_shows_a_store_s_name_without_controls(
    run_extract: Extract, tmp_path: Path
) -> None:
    store, _ = run_extract()
    Path(store.location).rename(tmp_path / NAME)
    for words in (["cache", "verify", tmp_path / NAME], ["cache", "ls", tmp_path]):
        shown = in_terminal([str(word) for word in words])
        assert "\x1b]0;" not in shown
        assert "\u202e" not in shown
        assert "owned" in shown


def in_terminal(words: list[str]) -> str:
    """What a command of its own process shows in a terminal."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "COLUMNS": "300"}
    process = subprocess.Popen([*SAMCACHE, *words], env=environment, stdout=writer, stderr=writer)
    os.close(writer)
    shown = b""
    try:
        while data := os.read(reader, 65536):
            shown += data
    except OSError:  # how a terminal without writers ends on Linux
        pass
    os.close(reader)
    process.wait()
    return shown.decode()
