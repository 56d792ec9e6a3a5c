"""Why an image cannot be decoded, in plain words and never in those of a library's exception."""

import re

_TOO_LARGE = "its compressed metadata unpack to more than 1 MB"
# the first pattern that fits what a decoder raised, its kind and its words
_REASONS = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        ("MemoryError|out of memory|cannot allocate", "needs more memory than is free"),
        ("decompressed data too large|text memory|max_text", f"too large: {_TOO_LARGE}"),
        (r"exceeds limit of \d+ pixels", "too large: its pixels would fill the memory"),
        ("12-bit", "cannot be decoded: lossy JPEG of 12 bits is not supported"),
        ("NotImplemented|not supported|unsupported|does not support|unknown compression",
         "cannot be decoded: this variant of the format is not supported"),
        ("truncated|less than expected|insufficient|not enough|EOF|end of file|unexpected end"
         "|unpack|buffer|too short|incomplete",
         "cannot be decoded: the pixel data are truncated"),
    )
)  # fmt: skip
_DAMAGED = "cannot be decoded: the pixel data are damaged"


def explain_reason(error: Exception) -> str:
    """The sentence for any error that a decoder raises."""
    text = f"{type(error).__name__}: {error}"
    return next((reason for pattern, reason in _REASONS if pattern.search(text)), _DAMAGED)
