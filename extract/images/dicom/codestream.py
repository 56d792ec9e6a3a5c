"""Count the values that a compressed frame claims, before it is decoded."""

from itertools import pairwise

_RLE_UNCHECKED = 8 << 20  # bytes; so few unpack to 0.5 GB at most
_SOI = b"\xff\xd8"
_J2K = b"\xff\x4f\xff\x51"  # SOC and SIZ, ISO/IEC 15444-1, A.4 and A.5
# SOF0 to SOF15 without DHT, JPG and DAC, ISO/IEC 10918-1, B.1.1.3; 0xF7 of JPEG-LS
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def count_claimed_values(frame: bytes) -> int:
    """Multiply a JPEG, JPEG-LS or JPEG 2000 stream's width, height and components; 0 if unknown."""
    start = frame.find(_J2K)
    if start >= 0:
        head = frame[start + 4 : start + 42]  # Lsiz, Rsiz, Xsiz, Ysiz, XOsiz, YOsiz, …, Csiz
        sides = [int.from_bytes(head[place : place + 4], "big") for place in (4, 8, 12, 16)]
        width, height = sides[0] - sides[2], sides[1] - sides[3]
        return max(0, width) * max(0, height) * int.from_bytes(head[36:38], "big")
    return _count_jpeg_values(frame) if frame.startswith(_SOI) else 0


def _count_jpeg_values(frame: bytes) -> int:
    place, most = 2, 0
    while place + 4 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF or marker in _ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_HEADERS:
            height, width = (
                int.from_bytes(frame[at : at + 2], "big") for at in (place + 5, place + 7)
            )
            most = max(most, width * height * frame[place + 9 : place + 10][0])
        if marker == 0xDA:  # the pixels follow
            break
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return most


def rle_overflows(frame: bytes, most: int) -> bool:
    """Whether a segment of an RLE frame unpacks to more than ``most`` bytes, PS3.5, G.3 to G.5."""
    if len(frame) <= _RLE_UNCHECKED:
        return False
    header = [int.from_bytes(frame[at : at + 4], "little") for at in range(0, 64, 4)]
    starts = [*header[1 : 1 + header[0]], len(frame)]
    return any(_segment_overflows(frame, *ends, most) for ends in pairwise(starts))


def _segment_overflows(frame: bytes, place: int, end: int, most: int) -> bool:
    unpacked = 0
    while place < end and unpacked <= most:
        code = frame[place]
        literal = code < 128
        place += code + 2 if literal else 2 if code > 128 else 1
        unpacked += code + 1 if literal else 257 - code if code > 128 else 0
    return unpacked > most
