"""Text from outside, such as file and class names, made safe to show."""

import re

# C0 and C1 controls (but tab, line feed and carriage return), marks that change the direction of
# writing, line separators that terminals do not count, and halves of surrogate pairs
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    "|(?!^)\r(?!\n)"
)


def visible(text: str) -> str:
    r"""Text in which controls are visible escapes such as ``\x1b``; safe for a terminal.

    Line ends and tabs stay. A carriage return stays at the beginning, as progress bars write it.
    """
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
