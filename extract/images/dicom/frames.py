"""Decode DICOM files as the images that a viewer would show, with pydicom and its decoders."""

import hashlib
import io
import warnings
from collections.abc import Callable
from copy import copy
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samcache.cache.errors import ImageError, SourceError
from samcache.extract.images.colour import RGB, Window
from samcache.extract.images.dicom.codestream import count_claimed_values, rle_overflows
from samcache.extract.images.dicom.file import is_dicom_file, normalise_file, read_header
from samcache.extract.images.dicom.grey import show_grey
from samcache.extract.images.dicom.values import read_integer, read_text
from samcache.extract.images.reasons import explain_reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = frozenset({".dcm", ".dicom"})

_LEAST_FRAME = 16  # bytes; a header may claim any number of frames
_ROUNDS = 10_000  # of the hash that stands for a patient: trying out all numbers should cost
_PIXELS = 0x7FE00010
_DAMAGED = "cannot be decoded: damaged DICOM header"
_TRUNCATED = "cannot be decoded: the pixel data are truncated"


def decode_dicom(
    data: bytes, largest: int, window: Window | None = None, frame: int = 0
) -> Image.Image:
    """Decode one frame (from 0) of a DICOM file as a viewer would show it, a Pillow image in RGB.

    Grey values go through ``dicom_grey``; palettes and YBR become RGB. Raises ImageError for
    damaged files, objects without pixels, and frames of more than ``largest`` pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd headers, which no viewer minds
        try:
            header = _read_dataset(normalise_file(data), largest, len(data))
            stored = _read_values(header, frame)
            return _show_values(stored, header, window, frame)
        except (ImageError, SourceError):
            raise
        except MemoryError as error:
            raise ImageError(explain_reason(error)) from None
        except Exception:  # pydicom raises anything for elements that nobody expects there
            raise ImageError(_DAMAGED) from None


def hash_patient(path: Path) -> str:
    """Hash a file's patient to 16 hex digits; "" if the file names none.

    The same patient has the same hash everywhere. It hides the number from readers, not from
    someone who can guess it; hashed ids have a key.
    """
    header = _read_header_with(path.open, "PatientID")
    patient = str(header.get("PatientID") or "").strip() if header is not None else ""
    return _hash_once(patient) if patient else ""


@cache
def _hash_once(patient: str) -> str:
    """Hash each patient only once, because the hash is slow on purpose, against guessing."""
    return hashlib.pbkdf2_hmac("sha256", patient.encode(), b"samcache", _ROUNDS).hex()[:16]


def count_file_frames(path: Path) -> int:
    """Count a file's frames; 1 if it is not DICOM, or gives no possible number."""
    header = _read_header_with(path.open, "NumberOfFrames") if is_dicom_file(path) else None
    return 1 if header is None else _count_frames(header, path.stat().st_size)


def count_frames(data: bytes) -> int:
    """Count the frames of a DICOM file's bytes; 1 if it gives no possible number."""
    header = _read_header_with(lambda _: io.BytesIO(data), "NumberOfFrames")
    return 1 if header is None else _count_frames(header, len(data))


def _read_header_with(open_file: Callable[[str], IO[bytes]], keyword: str) -> "Dataset | None":
    """Read a file's header with one element; None on an error, which decoding reports later."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_file("rb") as file:
                header = read_header(file, keyword)
            header.get(keyword)  # which is when pydicom reads its text
            return header
    except Exception:
        return None


def _count_frames(header: "Dataset", size: int) -> int:
    """Count the frames of a file of ``size`` bytes; an impossible number counts as absent."""
    count = read_integer(header, "NumberOfFrames")
    return count if count is not None and 1 <= count <= size // _LEAST_FRAME else 1


def _read_dataset(data: bytes, largest: int, size: int) -> "Dataset":
    """Read a complete file's data set with everything that its pixels need.

    size: bytes of the file before it was unpacked. Raises ImageError and the errors of pydicom.
    """
    from pydicom import dcmread

    header: Dataset = dcmread(io.BytesIO(data))
    if _PIXELS not in header:
        if _ends_in_pixels(data):
            raise ImageError(_TRUNCATED)
        raise ImageError("a DICOM object without pixels, or a file that ends before them")
    _fill_in(header, size)
    if header.Rows * header.Columns > largest:
        raise ImageError(f"too large: {header.Columns} x {header.Rows} pixels")
    return header


def _ends_in_pixels(data: bytes) -> bool:
    """Whether a file ends within its compressed pixels, which pydicom then leaves out."""
    from pydicom import dcmread

    file = io.BytesIO(data)
    dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
    return data[file.tell() : file.tell() + 4] in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


def _fill_in(header: "Dataset", size: int) -> None:
    """Replace empty or impossible elements by what they must mean; raises ImageError."""
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        if not (read_integer(header, keyword) or 0) > 0:
            raise ImageError(f"cannot be decoded: its DICOM header has no usable {keyword}")
        setattr(header, keyword, read_integer(header, keyword))
    samples = read_integer(header, "SamplesPerPixel") or 1
    stored = read_integer(header, "BitsStored") or 0
    photometric = read_text(header, "PhotometricInterpretation")
    header.SamplesPerPixel = samples
    header.NumberOfFrames = _count_frames(header, max(size, len(header[_PIXELS].value or b"")))
    header.BitsStored = stored if 0 < stored <= header.BitsAllocated else header.BitsAllocated
    header.HighBit = _find_high_bit(header)
    header.PixelRepresentation = int(read_integer(header, "PixelRepresentation") == 1)
    header.PhotometricInterpretation = photometric or ("MONOCHROME2" if samples == 1 else "RGB")
    if samples > 1:
        header.PlanarConfiguration = int(read_integer(header, "PlanarConfiguration") == 1)


def _find_high_bit(header: "Dataset") -> int:
    """Find a stored value's highest bit; an impossible place counts as absent.

    Files older than the standard of 2014 may keep their values in the upper bits, PS3.5, 8.1.1.
    """
    usual: int = header.BitsStored - 1
    place = read_integer(header, "HighBit") or 0
    return place if usual < place < header.BitsAllocated else usual


def _read_values(header: "Dataset", frame: int) -> npt.NDArray[Any]:
    """Read one frame's stored values, (H, W) or (H, W, 3), without decoding other frames.

    Raises ImageError.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    syntax = UID(str(header.file_meta.TransferSyntaxUID))
    if not 0 <= frame < header.NumberOfFrames:
        raise ImageError(f"has no frame {frame}, of {header.NumberOfFrames}")
    try:
        usable = get_decoder(syntax).is_available
    except NotImplementedError:
        usable = False
    if not usable:
        raise ImageError(f"cannot be decoded: its transfer syntax {syntax.name} is not supported")
    if header[_PIXELS].is_undefined_length and not syntax.is_encapsulated:
        raise ImageError(
            f"cannot be decoded: its pixel data are compressed, and its transfer syntax is "
            f"{syntax.name}"
        )
    try:
        if syntax.is_encapsulated:
            _check_claim(header, frame)
        return _decode(header, syntax, frame)
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything
        raise ImageError(explain_reason(error)) from None


def _decode(header: "Dataset", syntax: Any, frame: int) -> npt.NDArray[Any]:
    """Decode a frame's values, moved down if the file keeps them in upper bits; raises any error.

    pydicom takes the lowest bits. Codecs other than RLE move values themselves.
    """
    from pydicom.pixels import pixel_array
    from pydicom.uid import RLELossless

    below = header.HighBit + 1 - header.BitsStored
    if not below or (syntax.is_encapsulated and syntax != RLELossless):
        return np.asarray(pixel_array(header, index=frame))
    whole = copy(header)
    whole.BitsStored = header.HighBit + 1
    return np.asarray(pixel_array(whole, index=frame) >> below)


def _check_claim(header: "Dataset", frame: int) -> None:
    """Raise ImageError if a compressed frame would unpack to more than its header says."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    packed = get_frame(
        header.PixelData,
        frame,
        number_of_frames=header.NumberOfFrames,
        extended_offsets=_read_extended_offsets(header),
    )
    pixels = header.Rows * header.Columns
    if count_claimed_values(packed) > pixels * header.SamplesPerPixel or (
        header.file_meta.TransferSyntaxUID == RLELossless and rle_overflows(packed, 2 * pixels)
    ):
        raise ImageError("too large: its compressed frame is larger than its DICOM header says")


def _read_extended_offsets(header: "Dataset") -> tuple[bytes, bytes] | None:
    offsets, lengths = (header.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths"))
    return (offsets, lengths) if offsets and lengths else None


def _show_values(
    stored: npt.NDArray[Any], header: "Dataset", window: Window | None, frame: int
) -> Image.Image:
    from pydicom.pixels import apply_color_lut

    if header.PhotometricInterpretation == "PALETTE COLOR":
        return Image.fromarray(_take_upper_bits(apply_color_lut(stored, header), 0))
    if stored.ndim == 3:
        return Image.fromarray(_take_upper_bits(stored, int(header.BitsStored)))
    return Image.fromarray(show_grey(stored, header, window, frame)).convert("RGB")


def _take_upper_bits(colours: npt.NDArray[Any], bits: int) -> RGB:
    """Take the upper 8 bits of (H, W, 3) unsigned colours of ``bits`` bits (0: the type's)."""
    shift = (bits or colours.dtype.itemsize * 8) - 8
    return np.ascontiguousarray(colours >> max(0, shift)).astype(np.uint8)
