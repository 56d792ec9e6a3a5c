"""Read arrays of an .npz file that may come from anybody: bounded, and nothing pickled."""

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samcache.cache.errors import SourceError
from samcache.cache.files.failed_download import describe_failed_download
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes

Array = npt.NDArray[np.generic]

MOST_PACKED = 1032  # bytes that one byte can stand for, by deflate's limit
_LONGEST_HEADER = 1 << 16  # bytes; NumPy reads 10,000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz_arrays(path: Path, names: Collection[str]) -> tuple[dict[str, Array], set[str]]:
    """Read those of some arrays that a file holds; returns them, and the names of all it holds.

    Raises SourceError for a damaged file, for pickled objects, and for arrays that claim more than
    the file can hold or than the free memory.
    """
    try:
        if instead := describe_failed_download(path):
            raise SourceError(f"{path} {instead}")
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            used = sorted(there.intersection(names))
            _refuse_too_large(path, sum(_count_claimed_bytes(path, archive, name) for name in used))
            return {name: _read_array(archive, name) for name in used}, there
    except SourceError:
        raise
    except MemoryError as error:
        raise SourceError(f"{path} needs more memory than there is: {error}") from None
    except Exception:  # zip, its decoders and NumPy fail each in its own manner
        raise SourceError(
            f"{path} is not a readable .npz, but damaged or cut short: download it again"
        ) from None


def _count_claimed_bytes(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """Count the bytes of one array by its header; raises SourceError for objects, bad headers."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as packed:  # a header may claim, and unpack to, 4 GB
        file = io.BytesIO(packed.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise SourceError(
            f"{path} holds pickled objects, which can run code: save it again as plain uint8 and "
            "integer arrays"
        )
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > min(member.file_size, MOST_PACKED * path.stat().st_size):
        raise SourceError(
            f"{path} is damaged: {name} claims {claimed / 1e9:.1f} GB, more than the file can "
            "hold: download it again"
        )
    return claimed


def _refuse_too_large(path: Path, need: int) -> None:
    """Raise SourceError before memory is filled: zeros are packed a thousandfold."""
    free = free_memory()
    if need > free:
        raise SourceError(
            f"{path} holds {describe_bytes(need)} unpacked, and {describe_bytes(free)} of memory "
            "are free: write its images to files or HDF5, which are read one by one"
        )


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values
