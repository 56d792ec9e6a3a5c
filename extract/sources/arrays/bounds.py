"""Check how much an array of a compressed file unpacks to, before it is unpacked."""

import math
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import h5py

from samcache.cache.errors import ImageError, SourceError
from samcache.cache.files.npz_arrays import MOST_PACKED
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes

_DEFLATE = 1  # HDF5's number for it
_CHECKSUM_OR_ORDER = frozenset({2, 3, 5, 6})  # shuffle, fletcher32, nbit, scaleoffset
_MOST_CHUNK = 1 << 30  # bytes unpacked; a whole chunk is unpacked for one row of it
_UNCHECKED = 256 << 10  # bytes packed, which unpack to 0.3 GB at most


def check_claims(path: Path, array: h5py.Dataset, largest: int) -> None:
    """Raise SourceError for an array that claims more than its file can hold or samcache reads.

    largest: pixels of one image.
    """
    shape: tuple[int, ...] = array.shape or ()
    pixels = math.prod(shape[1:3])
    if pixels > largest:
        raise SourceError(f"{path}: images of {shape[1]} x {shape[2]} pixels are too large")
    if shape and shape[0] > MOST_PACKED * path.stat().st_size:
        raise SourceError(f"{path} is damaged: it claims {shape[0]} rows, more than it can hold")
    unpacked = math.prod(array.chunks or ()) * array.dtype.itemsize
    most = min(_MOST_CHUNK, free_memory())
    if _list_packers(array) and unpacked > most:
        raise SourceError(
            f"{path} has chunks of {describe_bytes(unpacked)}, and a chunk is read at once: "
            f"expected at most {describe_bytes(most)}; write smaller chunks (h5repack)"
        )
    if len(_list_packers(array)) > 1:
        raise SourceError(f"{path} is compressed more than once: compress it once (h5repack)")


def check_chunks(array: h5py.Dataset, first: int, last: int) -> None:
    """Raise ImageError where a chunk of the rows unpacks to more than a chunk has.

    HDF5 itself unpacks until the packed data end.
    """
    if not array.chunks or _DEFLATE not in _list_packers(array):
        return
    whole = math.prod(array.chunks) * array.dtype.itemsize
    begins = [first // array.chunks[0] * array.chunks[0], *[0] * (array.ndim - 1)]
    ends = [last, *array.shape[1:]]
    for offset in product(*map(range, begins, ends, array.chunks)):
        if array.id.get_chunk_info_by_coord(offset).size > _UNCHECKED:
            _, packed = array.id.read_direct_chunk(offset)
            unpacker = zlib.decompressobj()
            try:
                too_much = len(unpacker.decompress(packed, whole + 1024)) > whole + 512
            except zlib.error:
                raise ImageError("cannot be read: its chunk of the file is damaged") from None
            if too_much:
                raise ImageError("too large: its chunk of the file unpacks to more than a chunk")


def _list_packers(array: h5py.Dataset) -> list[int]:
    """List the numbers of an array's compression filters."""
    made: Any = array.id.get_create_plist()
    filters = [made.get_filter(place)[0] for place in range(made.get_nfilters())]
    return [number for number in filters if number not in _CHECKSUM_OR_ORDER]
