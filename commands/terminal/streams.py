"""Escape control characters that any code prints to standard output or standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from samcache.cache.text import escape_controls

if TYPE_CHECKING:
    from rich.console import Console


class VisibleStream:
    """A text stream that escapes control characters and letters its encoding does not have.

    It has no ``buffer``, so that no writer can bypass it.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text and return its length before escaping."""
        code = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(escape_controls(text).encode(code, "backslashreplace").decode(code))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.stream, name)


@contextmanager
def visible_streams() -> Iterator[None]:
    """Replace standard output and standard error by VisibleStreams within the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("IO[str]", VisibleStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def open_data_stream() -> IO[str]:
    """Standard output for data such as CSV: unchanged in a file or pipe, escaped in a terminal."""
    return sys.stdout if sys.stdout.isatty() else _below(sys.stdout)


def open_console(stderr: bool = False, **options: Any) -> Console:
    """Open a rich console that escapes control characters in text but keeps rich's own styles."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class VisibleConsole(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else escape_controls(text), style, control)

    file = _below(sys.stderr if stderr else sys.stdout)
    return VisibleConsole(file=file, stderr=stderr, emoji=False, **options)


def _below(stream: IO[str]) -> IO[str]:
    return stream.stream if isinstance(stream, VisibleStream) else stream
