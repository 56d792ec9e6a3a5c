"""DICOM files with chosen elements."""

import io
from collections.abc import Iterable

import numpy as np
from grey_reference import Lut
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


def dicom(pixels: np.ndarray, bits: int = 0, **elements: object) -> FileDataset:
    """An explicit VR little endian object of integers (H, W) or (frames, H, W)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SECONDARY_CAPTURE, UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = SECONDARY_CAPTURE, UID("1.2.3")
    header.PatientID, header.Modality = "patient", "OT"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        header.NumberOfFrames = len(pixels)
    header.Rows, header.Columns = pixels.shape[-2:]
    header.BitsAllocated = pixels.dtype.itemsize * 8
    header.BitsStored = bits or header.BitsAllocated
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.add_new("PixelData", "OW" if header.BitsAllocated > 8 else "OB", pixels.tobytes())
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def words(numbers: Iterable[int]) -> list[int]:
    """Numbers as the signed reading of their 16 bits."""
    return [(number + 0x8000) % 0x10000 - 0x8000 for number in numbers]


def table(lut: Lut, vr: str = "", packed: bool = False) -> Sequence:
    """A Modality or VOI LUT sequence of one table."""
    item = Dataset()
    descriptor = [len(lut.entries), lut.first, lut.bits]
    vr = vr or ("SS" if lut.first < 0 else "US")
    item.add_new(
        "LUTDescriptor",
        vr,
        words(descriptor) if vr == "SS" else [number % 0x10000 for number in descriptor],
    )
    item.add_new("LUTData", "OW", np.array(lut.entries, "u1" if packed else "<u2").tobytes())
    item.ModalityLUTType = "US"
    return Sequence([item])


def saved(header: Dataset) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
