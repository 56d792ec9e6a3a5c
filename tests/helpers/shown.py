"""What commands show, as text."""

from collections.abc import Iterable
from io import StringIO
from typing import Any

from rich.console import Console

from samcache.commands.show.extraction import describe_summary
from samcache.extract.summary import ExtractSummary


def text_of(parts: Iterable[Any]) -> str:
    """Lines and tables as a wide terminal shows them."""
    console = Console(file=(file := StringIO()), width=400, highlight=False)
    for part in parts:
        console.print(part, markup=False, soft_wrap=True)
    return file.getvalue()


def summary_text(summary: ExtractSummary) -> str:
    """What ``samcache extract`` shows at its end."""
    return text_of(describe_summary(summary))
