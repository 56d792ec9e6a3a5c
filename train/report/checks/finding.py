"""One finding of a report's checks."""

from dataclasses import dataclass

PROBLEM, CAUTION, FINE = "problem", "caution", "fine"
_MOST_ITEMS = 20


@dataclass(frozen=True)
class Finding:
    """One check: "problem" (numbers may be wrong), "caution" (read them with care) or "fine"."""

    kind: str
    title: str
    text: str = ""
    items: tuple[str, ...] = ()  # such as sample ids
    more: int = 0  # items left out


def make_finding(kind: str, title: str, text: str, items: list[str]) -> Finding:
    """A finding with the first of its items."""
    kept = tuple(items[:_MOST_ITEMS])
    return Finding(kind, title, text, kept, len(items) - len(kept))


def format_percent(share: float, digits: int = 0) -> str:
    """Such as "73.1 %"."""
    return f"{100 * share:.{digits}f} %"
