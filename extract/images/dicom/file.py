"""Detect DICOM files by content, and complete and bound them before pydicom reads them.

Files without the 128-byte preamble, without file meta information (group 0002) or without a
transfer syntax get a complete head; deflated files are unpacked here, as far as header and memory
allow.
"""

import io
import re
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from samcache.cache.errors import ImageError
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE = 128  # bytes before the magic word, DICOM PS3.10, 7.1
_MAGIC = b"DICM"
_START = 1 << 12  # bytes in which a file is recognised
_HEAD = 1 << 16  # bytes in which its meta information ends
_HEADER_PACKED = 8 << 20  # bytes unpacked for elements before the pixels
_MOST_HEADER = 64 << 20  # bytes unpacked before the header is asked how many pixels follow
_MOST_PIXELS = 1 << 30  # bytes, as of a file that is not packed
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_LONG = re.compile(b"O[BDFLVW]|S[QV]|U[CNRTV]")  # value representations with 32-bit lengths
_SHORT = re.compile(b"A[EST]|CS|D[AST]|F[DL]|IS|L[OT]|PN|S[HLST]|TM|U[ILS]")
_FIRST_GROUPS = frozenset({0x0002, *range(0x0008, 0x0029)})  # odd ones are private
_ELEMENTS = 3  # in a row, of ascending tags, tell a bare data set from other bytes
_UNDEFINED = 0xFFFFFFFF
_DAMAGED = "damaged DICOM header"


def has_dicom_bytes(data: bytes, size: int | None = None) -> bool:
    """Whether a file of ``size`` bytes that begins with ``data`` is a DICOM file."""
    return _find_start(data, len(data) if size is None else size) is not None


def is_dicom_file(path: Path) -> bool:
    """Whether the first bytes of a regular file are DICOM; False if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return has_dicom_bytes(file.read(_START), path.stat().st_size)
    except OSError:
        return False


def normalise_file(data: bytes) -> bytes:
    """Complete a DICOM file: add preamble and transfer syntax, and unpack a deflated data set.

    Raises ImageError if the file is damaged, or would unpack to more than its header says, 1 GiB of
    pixels or the free memory.
    """
    syntax, start = _find_data_set(data, len(data))
    if not syntax:
        return data
    if syntax == _DEFLATED:
        return _make_head(_EXPLICIT) + _inflate(data[start:])
    return _make_head(syntax) + data[start:]


def read_header(file: IO[bytes], keyword: str) -> "Dataset":
    """Read a DICOM file's header with one element; raises the errors of pydicom and of the disk."""
    import pydicom

    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    syntax, start = _find_data_set(head, size)
    file.seek(0)
    if not syntax:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[keyword])
    body = file.read(_HEAD + _HEADER_PACKED)[start:]
    if syntax == _DEFLATED:
        body, syntax = (
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, _HEADER_PACKED),
            _EXPLICIT,
        )
    return _parse(_make_head(syntax) + body, [keyword])


def _find_start(data: bytes, size: int) -> int | None:
    """Find the place of the first element; None if the bytes are not a DICOM file."""
    if data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC:
        return _PREAMBLE + len(_MAGIC)
    if data.startswith(_MAGIC):
        return len(_MAGIC)
    return 0 if _guess_syntax(data, 0, size) else None


def _find_data_set(data: bytes, size: int) -> tuple[str, int]:
    """Find the transfer syntax and the start of the data set; "" if pydicom can read them."""
    start = _find_start(data, size)
    if start is None:
        raise ImageError(f"cannot be decoded: {_DAMAGED}")
    syntax, place = _read_meta(data, start)
    regular = start == _PREAMBLE + len(_MAGIC) and syntax and syntax != _DEFLATED
    if regular and _DEFLATED.encode() not in data[:place]:
        return "", place
    syntax = syntax or _guess_syntax(data, place, size)
    if not syntax:
        raise ImageError(f"cannot be decoded: {_DAMAGED}")
    return syntax, place


def _read_meta(data: bytes, place: int) -> tuple[str, int]:
    """Read the transfer syntax of the file meta information ("" for none), and where that ends."""
    syntax = ""
    while data[place : place + 2] == b"\x02\x00":
        header, length = _measure_element(data, place, "little", _is_explicit(data, place))
        if length == _UNDEFINED or place + header + length > len(data):
            raise ImageError(f"cannot be decoded: {_DAMAGED}")
        if data[place + 2 : place + 4] == b"\x10\x00":
            value = data[place + header : place + header + length]
            syntax = value.decode("latin-1").strip(" \0")
        place += header + length
    return syntax, place


def _guess_syntax(data: bytes, place: int, size: int) -> str:
    """Guess the transfer syntax in which bytes read as a data set; "" for none."""
    for syntax, order, explicit in (
        (_EXPLICIT, "little", True), (_BIG_ENDIAN, "big", True), (_IMPLICIT, "little", False)
    ):  # fmt: skip
        if _reads_as_elements(data, place, size, order, explicit):
            return syntax
    return ""


def _reads_as_elements(data: bytes, place: int, size: int, order: Any, explicit: bool) -> bool:
    """Whether the bytes are elements with ascending tags and lengths that fit into the file."""
    last, seen = -1, 0
    while seen < _ELEMENTS and place + 8 <= len(data):
        group, element = (int.from_bytes(data[at : at + 2], order) for at in (place, place + 2))
        tag = group << 16 | element
        expected = _is_explicit(data, place) if explicit else group != 0x0002
        if tag <= last or not expected or (not seen and group not in _FIRST_GROUPS):
            return False
        header, length = _measure_element(data, place, order, explicit)
        if length == _UNDEFINED:
            return seen > 0
        if length % 2 or place + header + length > size:
            return False
        place, last, seen = place + header + length, tag, seen + 1
    return seen == _ELEMENTS or (seen > 0 and place > len(data) - 8)


def _is_explicit(data: bytes, place: int) -> bool:
    kind = data[place + 4 : place + 6]
    return bool(_LONG.fullmatch(kind) or _SHORT.fullmatch(kind))


def _measure_element(data: bytes, place: int, order: Any, explicit: bool) -> tuple[int, int]:
    """Measure the bytes of an element's header and of its value (PS3.5, 7.1)."""
    if not explicit:
        return 8, int.from_bytes(data[place + 4 : place + 8], order)
    if _LONG.fullmatch(data[place + 4 : place + 6]):
        return 12, int.from_bytes(data[place + 8 : place + 12], order)
    return 8, int.from_bytes(data[place + 6 : place + 8], order)


def _make_head(syntax: str) -> bytes:
    """Make preamble, magic word and meta information with a transfer syntax."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    return b"\0" * _PREAMBLE + _MAGIC + element


def _inflate(packed: bytes) -> bytes:
    """Unpack a deflated data set, but only as far as its header says that pixels follow."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        header = unpacker.decompress(packed, _MOST_HEADER)
        if unpacker.eof:
            return header
        most = _count_claimed_bytes(header) if unpacker.unconsumed_tail else 1
        rest = unpacker.decompress(unpacker.unconsumed_tail, max(1, most))
    except zlib.error:
        raise ImageError("cannot be decoded: the deflated data set is damaged") from None
    if unpacker.eof:
        return header + rest
    if unpacker.unconsumed_tail:
        raise ImageError("too large: it unpacks to more than its header says")
    raise ImageError("cannot be decoded: the pixel data are truncated")


def _count_claimed_bytes(start: bytes) -> int:
    """Count the bytes of all pixels by a data set's first part; raises ImageError if too many."""
    try:
        keywords = ["Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames"]
        header = _parse(_make_head(_EXPLICIT) + start, keywords)
        values = [int(header.get(keyword) or 1) for keyword in keywords]
    except Exception:  # pydicom raises anything
        raise ImageError(f"cannot be decoded: {_DAMAGED}") from None
    need = values[0] * values[1] * -(-values[2] // 8) * values[3] * max(1, values[4])
    free = free_memory()
    if need > min(_MOST_PIXELS, free):
        raise ImageError(
            f"too large: its pixels unpack to {describe_bytes(need)}; at most "
            f"{describe_bytes(_MOST_PIXELS)} are read, and {describe_bytes(free)} of memory are "
            "free"
        )
    return need


def _parse(data: bytes, keywords: list[str]) -> "Dataset":
    import pydicom

    header: Dataset = pydicom.dcmread(
        io.BytesIO(data), stop_before_pixels=True, specific_tags=keywords
    )
    return header
