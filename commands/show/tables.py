"""Tables and lines on standard output, whole where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from samcache.commands.terminal.streams import open_console

if TYPE_CHECKING:
    from rich.table import Table

    Part: TypeAlias = str | Table

_PIPED_WIDTH = 400  # columns; a terminal has its own width


def make_table(
    rows: Iterable[Sequence[object]], header: Sequence[str] = (), right: Collection[int] = ()
) -> Table:
    """Rows in columns without lines; numbers are aligned to the right.

    Texts are shown as they are: ``[red]`` in a name is a part of the name. right: the places of
    columns of formatted numbers, which are aligned as numbers are.
    """
    from rich.markup import escape
    from rich.table import Table

    cells = [list(row) for row in rows]
    table = Table(box=None, show_header=bool(header), padding=(0, 2, 0, 0), header_style="")
    for place in range(max(map(len, (header, *cells)), default=0)):
        numbers = place in right or all(isinstance(row[place], int | float) for row in cells)
        name = escape(header[place]) if header else ""
        table.add_column(name, justify="right" if numbers else "left", no_wrap=not numbers)
    for row in cells:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def print_parts(parts: Iterable[Part]) -> None:
    """Print lines and tables, one below the other."""
    console = open_console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    for part in parts:
        if isinstance(part, str):
            click.echo(part)
        else:
            console.print(part)
