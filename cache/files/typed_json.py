"""JSON from outside as typed values: bounded in depth, size and number, each refusal one line.

A person who can write a record can also compute its checksum: a checksum proves no content.
"""

import json
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

_DEEPEST = 64  # lists and objects inside each other
_MOST_VALUES = 1 << 23  # commas and brackets: each costs some 60 bytes of memory
_NOT_TEXT = "[\x00\ud800-\udfff]"  # NUL and lone surrogates, which no file and no terminal takes
_PLAIN = r"\A[^\x00\ud800-\udfff]*\Z"
_PLACE = re.compile(r"(?s)(.*?)(?: - at (?:`key` in )?`\$\.?(.*)`)?")
_T = TypeVar("_T")

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Text = Annotated[str, Meta(pattern=_PLAIN, max_length=1 << 14)]
Moment = Annotated[int, Meta(ge=0, lt=253402300800)]  # seconds since 1970, before the year 10000
Extent = Annotated[int, Meta(ge=1, le=1 << 20)]  # of an array, but for its rows
Classes = Annotated[tuple[Text, ...], Meta(max_length=1 << 16)]
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # so neither NaN nor infinity


def parse_json(data: bytes) -> Any:
    """The value of a JSON text in UTF-8; raises ValueError with the reason in one line."""
    if sum(map(data.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError("it holds too many values")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_refuse_repeated)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON at line {error.lineno}, column {error.colno}") from None
    except _RepeatedKeyError:
        raise ValueError("it has the same key twice in one object") from None
    except ValueError:
        raise ValueError("it holds a number of too many digits") from None
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None
    _check_depth(value)
    return value


def convert(value: Any, kind: type[_T]) -> _T:
    """A parsed value as a dataclass or another type; its annotations decide what is allowed.

    Fields without a default are required, unknown fields are ignored. Raises ValueError that names
    the place, what was expected and what was found.
    """
    try:
        return msgspec.convert(value, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(_put_in_words(str(error))) from None
    except UnicodeEncodeError:  # of a text that is compared with a name
        raise ValueError("a text holds half a character") from None


def check_plain(value: Any) -> None:
    """Raise ValueError where a parsed value holds NUL, half a character, or a huge number."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and re.search(_NOT_TEXT, item):
            raise ValueError("a text holds NUL or half a character")
        elif isinstance(item, int | float) and not abs(item) <= 2**63:
            raise ValueError("a number is not finite or too large")


def escape_surrogates(text: str) -> str:
    """A text that can be written in UTF-8: halves of characters become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


class _RepeatedKeyError(ValueError):
    """One object has two values for a key: readers could disagree on which counts."""


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKeyError
    return found


def _check_depth(value: Any) -> None:
    """Raise ValueError for nesting too deep for recursive code."""
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEEPEST):
        if not layer:
            return
        layer = [
            child
            for item in layer
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
    raise ValueError("its lists and objects are nested too deeply")


def _put_in_words(problem: str) -> str:
    """The message of msgspec, the place first: ``rows[0]: expected int >= 0, got bool``."""
    found = _PLACE.fullmatch(problem)
    what, place = (found[1], found[2]) if found else (problem, None)
    if "matching regex" in what:
        what = "Expected text without NUL or half a character"
    what = what.replace("`", "")
    what = what[:1].lower() + what[1:]
    return f"{place}: {what}" if place else what
