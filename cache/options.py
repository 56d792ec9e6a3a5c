"""The kinds of options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

At = click.IntRange  # At(16): 16 or more
Positive = click.FloatRange(min=0, min_open=True)

option = functools.partial(click.option, show_default=True)
FilePath = functools.partial(click.Path, path_type=Path)


class CommaList(click.ParamType[tuple[Any, ...]]):
    """Comma-separated values of one type, such as ``0,1,2``."""

    name = "a,b,…"

    def __init__(self, item: Callable[[str], Any] = str) -> None:
        self.item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part.strip()) for part in value.split(",") if part.strip())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class BatchSize(click.ParamType[int | None]):
    """A whole number from 1, or "auto", which is None: as many as the device's memory holds."""

    name = "auto|n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        return None if value == "auto" else At(1).convert(value, param, ctx)


class Window(click.ParamType[tuple[float, float]]):
    """A window's centre and width, as the least and the greatest value shown."""

    name = "center,width"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        try:
            center, width = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} should be two numbers such as 40,400", param, ctx)
        if not 0 < width < float("inf"):
            self.fail(f"{value!r}: the width should be above 0", param, ctx)
        return center - width / 2, center + width / 2
