"""How library code reports to its caller: lines that are no result, and how much is done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Remark:
    """One line that a user should read, and the parameter that changes it, if there is one."""

    text: str
    hint: str = ""


OnRemark: TypeAlias = Callable[[Remark], None]
# The kind of work, such as "copying"; how much is done, and of how much. Calls come from several
# threads, one call at a time.
OnProgress: TypeAlias = Callable[[str, int, int], None]


def ignore_remark(remark: Remark) -> None:
    """An OnRemark for callers that show nothing."""


def ignore_progress(work: str, done: int, total: int) -> None:
    """An OnProgress for callers that show nothing."""
