"""How library code reports to its caller: lines that are no result, and how much is done."""

from collections.abc import Callable
from typing import TypeAlias

OnRemark: TypeAlias = Callable[[str], None]  # one line
# The kind of work, such as "copying"; how much is done, and of how much. Calls come from several
# threads, one call at a time.
OnProgress: TypeAlias = Callable[[str, int, int], None]


def ignore_remark(line: str) -> None:
    """An OnRemark for callers that show nothing."""


def ignore_progress(work: str, done: int, total: int) -> None:
    """An OnProgress for callers that show nothing."""
