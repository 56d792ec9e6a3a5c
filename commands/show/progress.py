"""Show what library code reports: remarks, and how far its work is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from samcache.commands.terminal.group import remark
from samcache.commands.terminal.hints import add_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from samcache.cache.progress import OnProgress, OnRemark

Unit = Literal["images", "bytes", "shards"]


def show_remarks(console: Console) -> OnRemark:
    """Give an ``on_remark`` that prints remarks, with the options that change them."""
    return lambda one: remark(console, add_options(one.text, one.hint))


class _Bars:
    """Shows one bar at a time; another kind of work begins another bar."""

    def __init__(self, console: Console, unit: Unit) -> None:
        self._console, self._unit = console, unit
        self._bar: Progress | None = None
        self._work, self._done, self._total = "", 0, 0

    def show(self, work: str, done: int, total: int) -> None:
        """Show how much of some work is done."""
        goes_on = work == self._work or self._done < self._total  # or waits for other processes
        if self._bar is None or not goes_on or total != self._total:
            self.stop()
            self._bar = _make_bar(self._console, self._unit)
            self._bar.start()
            self._bar.add_task(work, total=total, completed=done)
        self._bar.update(self._bar.task_ids[0], description=work, completed=done)
        self._work, self._done, self._total = work, done, total

    def stop(self) -> None:
        """Leave the last bar as it is."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def show_progress(console: Console, unit: Unit = "images") -> Iterator[OnProgress]:
    """Give an ``on_progress`` that shows bars; each unit has its own columns."""
    bars = _Bars(console, unit)
    try:
        yield bars.show
    finally:
        bars.stop()


def _make_bar(console: Console, unit: Unit) -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            digits = 1 if speed and speed < 100 else 0
            rate = f"{speed:.{digits}f} images/s" if speed else ""
            return Text(rate, style="progress.data.speed")

    columns: dict[Unit, tuple[ProgressColumn, ...]] = {
        "images": (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
        ),
        "bytes": (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        ),
        "shards": Progress.get_default_columns(),
    }
    return Progress(*columns[unit], console=console, speed_estimate_period=60)
