"""Small files that unpack to gigabytes are refused before they do, by every reader that unpacks."""

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dicom_files import dicom, saved
from peaks import peak
from PIL import Image
from pixels import pixels_of
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, UID, JPEGBaseline8Bit, RLELossless

MEGABYTE = b"\0" * (1 << 20)
FULL = 700  # megabytes that a bomb unpacks to; each is refused within MOST
MOST = 300 << 20  # bytes
DEFLATED = b"1.2.840.10008.1.2.1.99"


def packed(*parts: bytes) -> bytes:
    """Parts deflated, with FULL megabytes of zeros in the place of an empty one."""
    return b"".join(block(part) if part else block(MEGABYTE) * FULL for part in parts) + b"\x03\0"


def block(part: bytes) -> bytes:
    """A part deflated by itself, so that blocks in a row unpack to their parts in a row."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)


def zlib_bomb() -> bytes:
    """FULL megabytes of zeros as zlib writes them: a header, and a checksum at the end."""
    compute_checksum = 1
    for _ in range(FULL):
        compute_checksum = zlib.adler32(MEGABYTE, compute_checksum)
    return b"\x78\x9c" + packed(b"") + compute_checksum.to_bytes(4, "big")


def deflated(before: bytes, behind: bytes = b"") -> bytes:
    element = b"\x02\x00\x10\x00UI" + len(DEFLATED).to_bytes(2, "little") + DEFLATED
    return b"\0" * 128 + b"DICM" + element + packed(before, b"", behind or b"\0")


def elements(header: FileDataset) -> bytes:
    data = saved(header)
    return data[data.index(b"\x08\x00\x16\x00") :]


def small() -> FileDataset:
    return dicom(np.zeros((8, 8), np.uint16))


def claiming_frames() -> bytes:
    header = small()
    header.NumberOfFrames, header.Rows, header.Columns = 400, 8000, 8000
    del header.PixelData
    return deflated(elements(header) + b"\xe0\x7f\x10\x00OW\0\0\0\0\0\x7f")


def private_before_the_patient() -> bytes:
    data = elements(small())
    place = data.index(b"\x10\x00\x20\x00")
    length = (FULL << 20).to_bytes(4, "little")
    return deflated(data[:place] + b"\x09\x00\x01\x10OB\0\0" + length, data[place:])


def one_frame(syntax: UID, frame: bytes) -> bytes:
    header = dicom(np.zeros((8, 8), np.uint8))
    header.file_meta.TransferSyntaxUID = syntax
    header.add_new("PixelData", "OB", encapsulate([frame]))
    header["PixelData"].is_undefined_length = True
    return saved(header)


def larger(kind: str, syntax: UID) -> bytes:
    """A frame whose own header has another size than the file's."""
    buffer = io.BytesIO()
    Image.new("L", (9000, 9000)).save(buffer, kind)
    return one_frame(syntax, buffer.getvalue())


def long_runs() -> bytes:
    header = b"".join(n.to_bytes(4, "little") for n in (1, 64, *[0] * 14))
    return one_frame(RLELossless, header + b"\x81\0" * (FULL << 13))


DICOM: dict[str, tuple[Callable[[], bytes], str]] = {
    "deflated, more behind the pixels": (
        lambda: deflated(elements(small())), "unpacks to more than its header says"),
    "deflated, many frames": (claiming_frames, "pixels unpack to 51.2 GB"),
    "deflated, a private element": (
        private_before_the_patient, "unpacks to more than its header says"),
    "JPEG of another size": (
        lambda: larger("JPEG", JPEGBaseline8Bit), "larger than its DICOM header says"),
    "JPEG 2000 of another size": (
        lambda: larger("JPEG2000", JPEG2000), "larger than its DICOM header says"),
    "RLE of long runs": (long_runs, "larger than its DICOM header says"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DICOM)
def test_dicom(kind: str, tmp_path: Path) -> None:
    make, reason = DICOM[kind]
    path = tmp_path / "x.dcm"
    path.write_bytes(make())
    before = """
import sys
from pathlib import Path
import pydicom.pixels
from samcache.extract.images.decode import decode_image
from samcache.extract.images.dicom.frames import count_file_frames, hash_patient
path = Path(sys.argv[1])
data = path.read_bytes()"""
    taken, words = peak(before, "decode_image(data)", str(path))
    assert reason in words
    assert taken < MOST
    taken, words = peak(before, "count_file_frames(path), hash_patient(path)", str(path))
    assert words == ""
    assert taken < MOST // 4


def test_a_deflated_file_longer_than_a_header_is_read() -> None:
    pixels = np.zeros((3, 4000, 4000), np.uint16)
    pixels[:, 1] = 9
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    data = deflated(b"x")[: 132 + 8 + len(DEFLATED)]
    data += packer.compress(elements(dicom(pixels))) + packer.flush()
    assert pixels_of(data, frame=2)[:3, 0, 0].tolist() == [0, 255, 0]


def hdf5(path: Path, rows: int, side: int, chunk: int, bomb: str) -> None:
    """Images and labels, of which one array's first chunk unpacks to FULL megabytes."""
    with h5py.File(path, "w") as file:
        made = {
            "x": file.create_dataset(
                "x", (rows, side, side), "u1", chunks=(chunk, side, side), compression="gzip"
            ),
            "y": file.create_dataset("y", (rows,), "u1", chunks=(4,), compression="gzip"),
        }
        if bomb:
            made[bomb].id.write_direct_chunk((0,) * made[bomb].ndim, zlib_bomb())


def npz_header(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("train_images.npy", "w", force_zip64=True) as file:
            file.write(b"\x93NUMPY\x02\x00" + (FULL << 20).to_bytes(4, "little"))
            for _ in range(FULL):
                file.write(MEGABYTE)
        labels = io.BytesIO()
        np.save(labels, np.array([0, 1]))
        archive.writestr("train_labels.npy", labels.getvalue())


def parquet_rows(path: Path) -> None:
    """Rows of one value, of which the file has one."""
    value = pa.DictionaryArray.from_arrays(np.zeros(1 << 24, np.int32), ["x" * 9999])
    pq.write_table(pa.table({"file": value, "class": value}), path)


ARRAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "x.h5, a chunk that is longer than it says": (
        lambda path: hdf5(path, 4, 64, 1, "x"), "unpacks to more than a chunk"),
    "x.h5, labels that are longer than they say": (
        lambda path: hdf5(path, 4, 8, 1, "y"), "labels cannot be read"),
    "x.h5, one chunk of all": (
        lambda path: hdf5(path, 2000, 1000, 2000, ""), "has chunks of 2.0 GB"),
    "x.h5, more rows than bytes": (
        lambda path: hdf5(path, 10**9, 8, 1, ""), "claims 1000000000 rows"),
    "x.h5, an image larger than memory": (
        lambda path: hdf5(path, 4, 60_000, 1, ""), "60000 x 60000 pixels are too large"),
    "x.parquet, rows of one value": (parquet_rows, "has 16777216 rows, which need about 8.6 GB"),
    "x.npz, a header": (npz_header, "not a readable .npz"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind: str, tmp_path: Path) -> None:
    make, reason = ARRAYS[kind]
    path = tmp_path / kind.split(",")[0]
    make(path)
    before = """
import sys
from pathlib import Path
import pyarrow.parquet
from samcache.extract.sources.arrays import bounds
from samcache.cache.files import npz_arrays
from samcache.cache.files import parquet as parquet_table
for reader in (bounds, npz_arrays, parquet_table):
    reader.free_memory = lambda: 4 << 30
from samcache.extract.sources.options import SourceOptions
from samcache.extract.sources.open import open_source"""
    call = "open_source(Path(sys.argv[1]), SourceOptions()).read_image(0).decode()"
    taken, words = peak(before, call, str(path))
    assert reason in words
    assert taken < MOST
