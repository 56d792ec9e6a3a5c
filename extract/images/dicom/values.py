"""Read values of DICOM elements; empty or impossible values count as absent."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_BITS = range(8, 17)  # an entry of a table has so many, PS3.3, C.11.1.1 and C.8.11.3.1.5
_WORD = 1 << 16  # a table's descriptor counts modulo this


@dataclass(frozen=True)
class Table:
    """A lookup table (LUT): entries (n,), the value that the first one maps, bits of an entry."""

    entries: npt.NDArray[np.float64]
    first: int
    bits: int

    def look_up(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Entries (H, W) for values (H, W); values beyond the ends map to the first and the last.

        Source: PS3.3, C.11.1.1.1 and C.11.2.1.1.
        """
        places = np.rint(values).clip(self.first, self.first + len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.int64) - self.first])

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value that an entry can have."""
        return 0.0, 2.0**self.bits - 1


def read_number(header: "Dataset", keyword: str) -> float | None:
    """Read the first value of an element as a finite number; None if absent.

    A decimal comma is read as a point, but not in elements with several values, where it may also
    separate them.
    """
    from pydicom.datadict import dictionary_VM

    values = _read_values(header, keyword)
    if not values:
        return None
    text = str(values[0]).strip(" \0")
    if dictionary_VM(keyword) == "1":
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_integer(header: "Dataset", keyword: str) -> int | None:
    """Read the first value of an element as an integer; None if absent."""
    values = _read_values(header, keyword)
    if values and isinstance(values[0], bytes):  # binary, of a type that pydicom does not know
        return int.from_bytes(values[0], "little") if len(values[0]) in (1, 2, 4) else None
    number = read_number(header, keyword)
    return int(number) if number is not None and number.is_integer() else None


def read_text(header: "Dataset", keyword: str) -> str:
    """Read the first value of an element in capitals; "" if absent."""
    values = _read_values(header, keyword)
    first = values[0] if values else ""
    text = first.decode("latin-1") if isinstance(first, bytes) else str(first)
    return text.strip(" \0").upper()


def read_items(header: "Dataset", keyword: str) -> list["Dataset"]:
    """Read the items of a sequence; [] if absent."""
    from pydicom.sequence import Sequence

    try:
        value = header.get(keyword)
    except Exception:  # a damaged sequence
        return []
    return list(value) if isinstance(value, Sequence) else []


def read_table(items: list["Dataset"], signed: bool, big_endian: bool) -> Table | None:
    """Read the first usable table of a Modality or VOI LUT sequence; None if absent.

    signed: whether the values that are looked up can be negative. Descriptors are read by their
    bits, since writers choose the wrong VR, and data by their length: 8-bit entries may be stored
    in words of 16 bits.
    """
    for item in items:
        descriptor = _read_words(item, "LUTDescriptor", big_endian)
        words = _read_words(item, "LUTData", big_endian)
        if len(descriptor) != 3 or not len(words) or int(descriptor[2]) not in _BITS:
            continue
        count, first, bits = int(descriptor[0]) or _WORD, int(descriptor[1]), int(descriptor[2])
        packed = bits == 8 and len(words) < count
        entries = words.astype("<u2").view(np.uint8) if packed else words
        return Table(
            entries[:count].astype(np.float64).clip(0, 2.0**bits - 1),
            _find_first_mapped(first, count, signed),
            bits,
        )
    return None


def fit_integer(value: int, bits: int, signed: bool) -> int:
    """Convert a value of 16 bits, under any VR, to an integer of ``bits`` bits.

    Returns the value unchanged if no reading of its bits fits.
    """
    least, most = find_integer_limits(bits, signed)
    readings = [value, value + _WORD, value - _WORD]
    if signed and value >= 0:
        readings.append(value - (1 << bits))
    return next((reading for reading in readings if least <= reading <= most), value)


def find_integer_limits(bits: int, signed: bool) -> tuple[int, int]:
    """Find the least and the greatest integer of ``bits`` bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _find_first_mapped(first: int, count: int, signed: bool) -> int:
    """Find the value that a table's first entry maps, from the descriptor's 16 bits.

    If the table would end beyond 16 bits, the number is negative.
    """
    negative = first >= _WORD // 2 and (signed or first + count > _WORD)
    return first - _WORD if negative else first


def _read_values(header: "Dataset", keyword: str) -> list[Any]:
    """Read all values of an element; [] if absent or empty."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return []
    try:
        value = header[tag].value
    except Exception:  # no number, for example: its text may be one all the same
        value = header.get_item(tag).value or b""
        value = value.decode("latin-1").split("\\") if isinstance(value, bytes) else value
    if value is None or isinstance(value, str | bytes | int | float):
        value = [value]
    return [part for part in value if part not in (None, "", b"")]


def _read_words(item: "Dataset", keyword: str, big_endian: bool) -> npt.NDArray[np.uint16]:
    """Read an element's values, or its bytes, as (n,) words of 16 bits."""
    values = _read_values(item, keyword)
    if len(values) == 1 and isinstance(values[0], bytes):
        data = values[0] + b"\0" * (len(values[0]) % 2)
        return np.frombuffer(data, ">u2" if big_endian else "<u2").astype(np.uint16)
    try:
        return (np.array([int(value) for value in values]) % _WORD).astype(np.uint16)
    except (ValueError, OverflowError):
        return np.zeros(0, np.uint16)
