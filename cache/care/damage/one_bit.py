"""Correct a single flipped bit from the checksums that a store has anyway.

CRC32C is linear: the difference between the checksum that stands and the one that is computed
depends on the flipped bit's place alone, and no two places of one row have the same difference.
"""

from collections.abc import Callable

import google_crc32c
import numpy as np
import numpy.typing as npt

from samcache.cache.format.records import unseal

_LARGEST = 1 << 28  # bytes of a row that are looked through; it takes 32 times as many in memory
_LARGEST_TRIED = 1 << 14  # bytes of an object of which every bit is tried

Table = npt.NDArray[np.uint32]


def correct_row(data: bytes, crc: bytes) -> bytes | None:
    """A row's bytes, or its CRC32C's, with the one flipped bit turned back; None where more differ.

    crc: 4 bytes, little-endian. Returns the row's bytes. The caller has to compare them with a
    checksum of more bits.
    """
    difference = google_crc32c.value(data) ^ int.from_bytes(crc, "little")
    if difference.bit_count() <= 1:
        return data  # the flipped bit is one of the checksum's
    if len(data) > _LARGEST:
        return None
    for bit in range(8):
        places = np.flatnonzero(_list_differences(len(data), bit) == difference)
        if len(places):
            corrected = bytearray(data)
            corrected[len(data) - 1 - int(places[0])] ^= 1 << bit
            return bytes(corrected)
    return None


def correct_small(data: bytes, is_right: Callable[[bytes], bool]) -> bytes | None:
    """A small object with the one flipped bit turned back, found by trying every bit, or None."""
    if len(data) > _LARGEST_TRIED:
        return None
    corrected = bytearray(data)
    for place in range(len(data)):
        for bit in range(8):
            corrected[place] ^= 1 << bit
            if is_right(bytes(corrected)):
                return bytes(corrected)
            corrected[place] ^= 1 << bit
    return None


def is_sealed(data: bytes) -> bool:
    """Whether some bytes are a record with the checksum that it should have."""
    try:
        return bool(unseal(data))
    except ValueError:
        return False


def _list_differences(count: int, bit: int) -> Table:
    """What flipping a bit changes in the CRC32C, by the byte's place from the end, (count,)."""
    zero, one = google_crc32c.value(b"\0"), google_crc32c.value(bytes([1 << bit]))
    found = np.empty(max(1, count), np.uint32)
    found[0] = zero ^ one
    step, done = _map_over_bytes(1), 1
    while done < count:
        more = min(done, count - done)
        found[done : done + more] = _apply(step, found[:more])
        step, done = _apply(step, step.ravel()).reshape(step.shape), done + more
    return found


def _map_over_bytes(count: int) -> Table:
    """The linear map of a difference over so many following bytes, as a table (4, 256)."""
    zeros, empty = b"\0" * count, 0
    columns = [
        google_crc32c.extend(1 << bit, zeros) ^ google_crc32c.extend(empty, zeros)
        for bit in range(32)
    ]
    values = np.arange(256, dtype=np.uint32)
    table = np.zeros((4, 256), np.uint32)
    for part in range(4):
        for bit in range(8):
            table[part] ^= ((values >> bit) & 1) * np.uint32(columns[8 * part + bit])
    return table


def _apply(table: Table, values: Table) -> Table:
    """A linear map of 32 bits on many values."""
    parts = [table[part][(values >> (8 * part)) & 255] for part in range(4)]
    combined: Table = parts[0] ^ parts[1] ^ parts[2] ^ parts[3]
    return combined
