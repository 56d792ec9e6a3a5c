"""Text for people: counted nouns, short lists, and names from outside made safe to show."""

import re
from collections.abc import Sequence

_SHOWN = 5  # names in a list
_KILO = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")

# C0 and C1 controls (but tab, line feed and carriage return), marks that change the direction of
# writing, line separators that terminals do not count, and halves of surrogate pairs
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    "|(?!^)\r(?!\n)"
)


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


def escape_controls(text: str) -> str:
    r"""Text in which controls are visible escapes such as ``\x1b``; safe for a terminal.

    Line ends and tabs stay. A carriage return stays at the beginning, as progress bars write it.
    """
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def describe_bytes(size: int) -> str:
    """A size in decimal units, such as "1 byte", "980 bytes" or "2.1 MB"."""
    if size < _KILO:
        return count_nouns(size, "byte")
    power = 1
    while size >= _KILO ** (power + 1) and power < len(_UNITS):
        power += 1
    return f"{size / _KILO**power:,.1f} {_UNITS[power - 1]}"
