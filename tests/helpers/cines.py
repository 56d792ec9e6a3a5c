"""Small DICOM files with several frames, of which only the middle ones show anything."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

FRAMES = 5
SIDE = 16


def write_cine(path: Path, seed: int, bright: bool, frames: int = FRAMES) -> Path:
    """Noise in the middle frame, brighter or not; all others are black."""
    pixels = np.zeros((frames, SIDE, SIDE), np.uint8)
    noise = np.random.default_rng(seed).integers(0, 60, (SIDE, SIDE))
    pixels[frames // 2] = noise + 150 * bright
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.{seed}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, f"1.2.{seed}"
    file.PatientID, file.Modality = f"P{seed}", "US"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns, file.NumberOfFrames = SIDE, SIDE, frames
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def folder_of_cines(folder: Path, count: int = 20) -> Path:
    """Two classes of files, which differ in their middle frames alone."""
    for number in range(count):
        name = ("dark", "light")[number % 2]
        write_cine(folder / name / f"{number:02}.dcm", number, bright=bool(number % 2))
    return folder
