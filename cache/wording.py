"""Counts and lists of names, as sentences have them."""

from collections.abc import Sequence

_SHOWN = 5  # names in a list


def count_nouns(count: int, noun: str) -> str:
    """A count with its noun, such as "1 image", "2 images" or "3 classes"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def count_are(count: int, noun: str) -> str:
    """A count with its noun and verb, such as "1 image is" or "2 images are"."""
    return f"{count_nouns(count, noun)} {'is' if count == 1 else 'are'}"


def list_first(names: Sequence[str], shown: int = _SHOWN) -> str:
    """The first few names, such as "a, b, c, …"."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
