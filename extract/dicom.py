"""DICOM files as the images that a viewer would show, by pydicom and its decoders."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samcache.cache.errors import ImageError, SourceError
from samcache.extract.colour import RGB, Grey, Window, by_value, grey_levels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = frozenset({".dcm", ".dicom"})

_PREAMBLE = 128  # bytes before the magic word, DICOM PS3.10, 7.1
_MAGIC = b"DICM"
_LEAST_FRAME = 16  # bytes; a header may claim any number of frames
_ROUNDS = 10_000  # of the hash that stands for a patient: trying out all numbers should cost
# where enhanced multi-frame objects keep what others have at the top, PS3.3, C.7.6.16
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is a DICOM file."""
    return head[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def is_dicom_file(path: Path) -> bool:
    """Whether a regular file is DICOM, by its first bytes; False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return is_dicom(file.read(_PREAMBLE + len(_MAGIC)))
    except OSError:
        return False


def decode_dicom(
    data: bytes, largest: int, window: Window | None = None, frame: int = 0
) -> Image.Image:
    """One frame (from 0) of a DICOM file as a viewer would show it, a Pillow image in RGB.

    Grey values get their rescale slope and intercept, then ``window``, or else the file's own
    window or VOI table, or else their whole range; MONOCHROME1 is inverted. Palettes and YBR
    become RGB. Raises ImageError for damaged files, objects without pixels, and frames of more than
    ``largest`` pixels.
    """
    pydicom = _pydicom()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd headers, which no viewer minds
        try:
            header = pydicom.dcmread(io.BytesIO(data))
            if "PixelData" not in header:
                raise ImageError("a DICOM object without pixels")
            if header.Rows * header.Columns > largest:
                raise ImageError(f"too large: {header.Columns} x {header.Rows} pixels")
            _lift_functional_groups(header, frame)
            return _shown(header, window, frame)
        except ImageError:
            raise
        except Exception as error:  # headers and decoders raise anything
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ImageError(f"DICOM that cannot be decoded: {reason}") from None


def patient_group(path: Path) -> str:
    """A hash (16 hex digits) that stands for a file's patient, "" where it names none.

    The same patient has the same hash everywhere. It hides the number from readers, not from
    someone who can guess it: ``--hash-ids`` keys it.
    """
    patient = _element(path, "PatientID")
    return _patient_hash(patient) if patient else ""


@cache
def _patient_hash(patient: str) -> str:
    """Once a patient, and not once an image: it is slow on purpose, against guessing."""
    return hashlib.pbkdf2_hmac("sha256", patient.encode(), b"samcache", _ROUNDS).hex()[:16]


def frame_count(path: Path) -> int:
    """How many frames a file has: 1 where it is no DICOM file, or says nothing that can be."""
    count = _element(path, "NumberOfFrames") if is_dicom_file(path) else ""
    most = path.stat().st_size // _LEAST_FRAME if count else 1
    return int(count) if count.isdecimal() and 1 <= int(count) <= most else 1


def _element(path: Path, name: str) -> str:
    """One element of a file's header as text, "" where it cannot be had."""
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[name])
        return str(header.get(name) or "").strip()
    except Exception:  # the image's own row will say what is wrong with the file
        return ""


def _shown(header: "Dataset", window: Window | None, frame: int) -> Image.Image:
    from pydicom.pixels import apply_color_lut, pixel_array

    stored = pixel_array(header, index=frame)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return Image.fromarray(_upper_bits(apply_color_lut(stored, header), 0))
    if stored.ndim == 3:
        return Image.fromarray(_upper_bits(stored, int(header.BitsStored)))
    grey = by_value(stored, partial(_grey, header=header, window=window))
    return Image.fromarray(grey).convert("RGB")


def _grey(stored: npt.NDArray[Any], header: "Dataset", window: Window | None) -> Grey:
    """Stored values (H, W) as a viewer would show them, (H, W) uint8."""
    from pydicom.pixels import apply_modality_lut

    padding = header.get("PixelPaddingValue")
    background = None if padding is None else stored == padding
    values = np.asarray(apply_modality_lut(stored, header), dtype=np.float64)
    chosen = window
    if chosen is None and ("VOILUTSequence" in header or _has_window(header)):
        values, chosen = _by_the_files_window(values, stored, header)
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return grey_levels(values, chosen, inverted, background)


def _has_window(header: "Dataset") -> bool:
    """Whether a file's first window shows anything: some name a width of 0 where they have none."""
    widths = header.get("WindowWidth")
    width = widths[0] if isinstance(widths, Sequence) and widths else widths
    return "WindowCenter" in header and bool(width) and float(width) > 0


def _by_the_files_window(
    values: npt.NDArray[Any], stored: npt.NDArray[Any], header: "Dataset"
) -> tuple[npt.NDArray[Any], Window]:
    """Values through the file's window or VOI table, and the range of what comes out."""
    from pydicom.pixels import apply_voi, apply_windowing

    if "VOILUTSequence" in header:
        last = 2 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return np.asarray(apply_voi(stored, header), dtype=np.float64), (0.0, float(last))
    low, high = apply_windowing(np.array([-1e12, 1e12]), header)
    return np.asarray(apply_windowing(values, header)), (float(low), float(high))


def _upper_bits(colours: npt.NDArray[Any], bits: int) -> RGB:
    """(H, W, 3) unsigned colours of so many bits (0: all that the type has) as uint8."""
    shift = (bits or colours.dtype.itemsize * 8) - 8
    return np.ascontiguousarray(colours >> max(0, shift)).astype(np.uint8)


def _lift_functional_groups(header: "Dataset", frame: int) -> None:
    """Put a frame's rescaling and window where simple objects have them."""
    for name, place in ((_SHARED, 0), (_PER_FRAME, frame)):
        for groups in (header.get(name) or [])[place : place + 1]:
            for macro in _MACROS:
                for item in groups.get(macro) or []:
                    header.update(item)


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError:
        raise SourceError(
            "a DICOM file needs pydicom and its decoders: pip install 'samcache[dicom]'"
        ) from None
    return pydicom
