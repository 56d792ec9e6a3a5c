"""Show how far a piece of work is, one bar for each kind of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class _Bars:
    """Shows one bar at a time; another kind of work begins another bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._work, self._done, self._total = "", 0, 0

    def show(self, work: str, done: int, total: int) -> None:
        """Show how much of some work is done."""
        goes_on = work == self._work or self._done < self._total  # or waits for other processes
        if self._bar is None or not goes_on or total != self._total:
            self.stop()
            self._bar = _make_bar(self._console)
            self._bar.start()
            self._bar.add_task(work, total=total, completed=done)
        self._bar.update(self._bar.task_ids[0], description=work, completed=done)
        self._work, self._done, self._total = work, done, total

    def stop(self) -> None:
        """Leave the last bar as it is."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def show_progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Give an ``on_progress`` that shows bars: images done, images/s, time elapsed and left."""
    bars = _Bars(console)
    try:
        yield bars.show
    finally:
        bars.stop()


def _make_bar(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            digits = 1 if speed and speed < 100 else 0
            rate = f"{speed:.{digits}f} images/s" if speed else ""
            return Text(rate, style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        speed_estimate_period=60,
    )
