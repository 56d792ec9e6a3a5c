"""DICOM files, real ones from pydicom's own test data, look as in a viewer."""

import io
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pixels import pixels_of
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tiny_extraction import Extract

from samcache.cache.errors import ImageError
from samcache.extract.changes import Changes
from samcache.extract.images.dicom.frames import hash_patient
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def real(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def changed(name: str, **elements: object) -> bytes:
    """A real file with other elements."""
    header = pydicom.dcmread(real(name))
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    buffer = io.BytesIO()
    header.save_as(buffer)
    return buffer.getvalue()


def test_the_same_slice_looks_the_same_in_every_transfer_syntax() -> None:
    plain = pixels_of(real("MR_small.dcm").read_bytes())
    for name in ("RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless"):
        found = pixels_of(real(f"MR_small_{name}.dcm").read_bytes())
        np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle_16bit.dcm",
     "SC_rgb_rle_32bit_2frame.dcm", "SC_rgb_jls_lossy_line.dcm",
     "SC_ybr_full_422_uncompressed.dcm"],
)  # fmt: skip
def test_colours_are_rgb_whatever_the_file_has(name: str) -> None:
    """pydicom's test card: bars of red, light red, green, light green, blue, … from the top."""
    bars = pixels_of(real(name).read_bytes())[5:60:10, 50].astype(int)
    expected = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255)]
    np.testing.assert_allclose(bars[:5], expected, atol=6)


def test_a_palette_becomes_its_colours() -> None:
    shown = pixels_of(real("examples_palette.dcm").read_bytes())
    assert shown.shape == (350, 800, 3)
    assert (shown[..., 0] != shown[..., 2]).any()


def test_the_files_window_counts_and_a_given_one_before_it() -> None:
    """PS3.3, C.11.2.1.2.1: c - 0.5 - (w - 1) / 2 is black, c - 0.5 + (w - 1) / 2 white."""
    header = pydicom.dcmread(real("CT_small.dcm"))
    units = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    data = changed("CT_small.dcm", WindowCenter=40, WindowWidth=400)
    expected = np.clip((units - (40 - 0.5 - 199.5)) / 399 * 255, 0, 255)
    np.testing.assert_allclose(pixels_of(data)[..., 0], expected, atol=0.51)
    given = np.clip((units + 1000) / 1500 * 255, 0, 255)
    np.testing.assert_allclose(pixels_of(data, (-1000.0, 500.0))[..., 0], given, atol=0.51)


def test_without_a_window_the_whole_range_is_shown_and_padding_is_black() -> None:
    shown = pixels_of(real("CT_small.dcm").read_bytes())
    assert (shown.min(), shown.max()) == (0, 255)
    values = pydicom.dcmread(real("CT_small.dcm")).pixel_array
    darkest = int(values.min())
    padded = pixels_of(changed("CT_small.dcm", PixelPaddingValue=darkest))
    assert (padded[values == darkest] == 0).all()
    assert padded[values > darkest].mean() < shown[values > darkest].mean()


def test_a_window_without_width_shows_the_whole_range() -> None:
    """As some files name it where they have none; no window can be computed with it."""
    plain = pixels_of(real("CT_small.dcm").read_bytes())
    for width in (0, [0, 400]):
        data = changed("CT_small.dcm", WindowCenter=40, WindowWidth=width)
        np.testing.assert_array_equal(pixels_of(data), plain)


def test_monochrome1_is_inverted() -> None:
    shown = pixels_of(real("MR_small.dcm").read_bytes())
    inverted = pixels_of(changed("MR_small.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, 255 - shown)


def test_enhanced_objects_keep_rescaling_and_window_in_their_frames() -> None:
    transformation, window, groups = Dataset(), Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = 2, -100
    transformation.RescaleType = "HU"
    window.WindowCenter, window.WindowWidth = 900, 1001
    groups.PixelValueTransformationSequence = Sequence([transformation])
    groups.FrameVOILUTSequence = Sequence([window])
    data = changed("MR_small.dcm", PerFrameFunctionalGroupsSequence=Sequence([groups]))
    values = pydicom.dcmread(real("MR_small.dcm")).pixel_array.astype(float) * 2 - 100
    expected = np.clip((values - 399.5) / 1000 * 255, 0, 255)
    np.testing.assert_allclose(pixels_of(data)[..., 0], expected, atol=0.51)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "the pixel data are truncated"),
        ("rtplan.dcm", "without pixels"),
        ("nested_priv_SQ.dcm", "no usable Rows"),
        ("meta_missing_tsyntax.dcm", "damaged DICOM header"),
        ("JPEG-lossy.dcm", "lossy JPEG of 12 bits is not supported"),
    ],
)
def test_what_cannot_be_shown_is_told(name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        pixels_of(real(name).read_bytes())


def test_an_absurd_size_is_refused_before_decoding() -> None:
    with pytest.raises(ImageError, match="too large"):
        pixels_of(changed("MR_small.dcm", Rows=65535, Columns=65535))


def test_folders_of_dicom_files_have_patients_as_groups_and_never_their_numbers(
    tmp_path: Path,
) -> None:
    for place, name in {
        "train/a/1.dcm": "CT_small.dcm",
        "train/b/IM0001": "MR_small.dcm",  # as scanners name them
        "train/b/1.2.840.17": "MR_small_RLE.dcm",
        "test/a/x.DCM": "CT_small.dcm",
        "test/b/y.dcm": "MR_small_implicit.dcm",
        "val/a/z.dcm": "examples_rgb_color.dcm",
    }.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real(name), tmp_path / place)
    (tmp_path / "train/a/notes.txt").write_text("not an image")
    samples = open_source(tmp_path, SourceOptions()).samples.set_index("id")
    assert len(samples) == 6
    assert samples.loc["train/a/1.dcm", "group"] == samples.loc["test/a/x.DCM", "group"] != ""
    assert samples.loc["train/b/IM0001", "group"] != samples.loc["train/a/1.dcm", "group"]
    patient = str(pydicom.dcmread(real("CT_small.dcm")).PatientID)
    assert patient
    assert not samples.astype(str).apply(lambda c: c.str.contains(patient, regex=False)).any().any()


def test_a_file_without_a_patient_has_no_group(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(changed("MR_small.dcm", PatientID=""))
    assert hash_patient(tmp_path / "x.dcm") == ""
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    assert hash_patient(tmp_path / "broken.dcm") == ""


def folder_of_frames(tmp_path: Path, **elements: object) -> Path:
    """Two real files with several frames and one with a single one."""
    for place, data in {
        "a/cine.dcm": changed("examples_ybr_color.dcm", **elements),
        "a/card.dcm": changed("SC_rgb_rle_2frame.dcm", **elements),
        "b/one.dcm": real("MR_small.dcm").read_bytes(),
    }.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(data)
    return tmp_path


def test_every_frame_is_an_image_of_its_files_patient_class_and_split(tmp_path: Path) -> None:
    source = open_source(folder_of_frames(tmp_path), SourceOptions(frames="all"))
    samples = source.samples
    assert len(samples) == 30 + 2 + 1
    cine = samples[samples["id"].str.startswith("a/cine.dcm#")]
    assert cine["id"].tolist() == [f"a/cine.dcm#{n}" for n in range(30)]
    assert (cine[["label", "group", "split"]].nunique() == 1).all()
    assert cine["group"].iloc[0] == hash_patient(tmp_path / "a/cine.dcm")
    assert "b/one.dcm" in samples["id"].tolist()
    assert len({source.read_image(row).sha256 for row in range(len(samples))}) == len(samples)


def test_frames_show_what_the_file_holds_at_their_place(tmp_path: Path) -> None:
    source = open_source(folder_of_frames(tmp_path), SourceOptions(frames="all"))
    header = pydicom.dcmread(real("SC_rgb_rle_2frame.dcm"))
    rows = [row for row, name in enumerate(source.samples["id"]) if name.startswith("a/card")]
    for row, expected in zip(rows, header.pixel_array, strict=True):
        np.testing.assert_array_equal(source.read_image(row).decode(), expected)
    one = source.samples.index[source.samples["id"] == "b/one.dcm"][0]
    np.testing.assert_array_equal(
        np.asarray(source.read_image(one).decode()), pixels_of(real("MR_small.dcm").read_bytes())
    )
    last = source.take([rows[1]])
    assert last.read_image(0).sha256 == source.read_image(rows[1]).sha256


def test_the_first_frame_has_the_bytes_of_the_file_and_the_middle_one_says_which_it_is(
    tmp_path: Path,
) -> None:
    folder = folder_of_frames(tmp_path)
    first, middle, every = (
        open_source(folder, SourceOptions(frames=which)) for which in ("first", "middle", "all")
    )  # type: ignore[arg-type]
    assert first.samples["id"].tolist() == ["a/card.dcm", "a/cine.dcm", "b/one.dcm"]
    assert middle.samples["id"].tolist() == ["a/card.dcm#1", "a/cine.dcm#15", "b/one.dcm"]
    ids = every.samples["id"].tolist()
    assert every.read_image(ids.index("a/cine.dcm#0")).sha256 == first.read_image(1).sha256
    assert every.read_image(ids.index("a/cine.dcm#15")).sha256 == middle.read_image(1).sha256


def test_frames_of_an_unknown_patient_stay_together_by_their_file(tmp_path: Path) -> None:
    folder = folder_of_frames(tmp_path, PatientID="")
    samples = open_source(folder, SourceOptions(frames="all")).samples
    assert set(samples["group"][samples["id"].str.startswith("a/")]) == {"a/cine.dcm", "a/card.dcm"}
    assert (samples.groupby("group")["split"].nunique() == 1).all()


def test_enhanced_frames_have_their_own_windows() -> None:
    shared, frames = Dataset(), []
    transformation = Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = 1, 0
    transformation.RescaleType = "US"
    shared.PixelValueTransformationSequence = Sequence([transformation])
    values = pydicom.dcmread(real("rtdose.dcm")).pixel_array.astype(float)
    top = float(values[7].max())
    for width in [top + 1] * 7 + [top / 2 + 1] * 8:
        window, groups = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = width / 2 + 0.5, width
        groups.FrameVOILUTSequence = Sequence([window])
        frames.append(groups)
    data = changed(
        "rtdose.dcm",
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    shown = pixels_of(data, frame=7)[..., 0]
    np.testing.assert_allclose(shown, np.clip(values[7] / (top / 2) * 255, 0, 255), atol=0.51)


def test_a_store_of_frames_is_filled_and_resumed(tmp_path: Path, run_extract: Extract) -> None:
    reading = SourceOptions(frames="all")
    folder = folder_of_frames(tmp_path / "scans")
    store, first = run_extract(source=folder, reading=reading, image_size=32, pool=1)
    assert (first.encoded, first.unreadable) == (33, {})
    assert store.samples["id"].str.contains("#").sum() == 32
    _, again = run_extract(source=folder, reading=reading, image_size=32, pool=1)
    assert (again.encoded, again.changes) == (0, Changes())


@pytest.mark.parametrize("claimed", [0, -3, 2_000_000_000])
def test_frames_that_cannot_be_are_not_believed(tmp_path: Path, claimed: int) -> None:
    (tmp_path / "a").mkdir()
    data = changed("MR_small.dcm", NumberOfFrames=claimed)
    (tmp_path / "a" / "x.dcm").write_bytes(data)
    source = open_source(tmp_path, SourceOptions(frames="all"))
    assert source.samples["id"].tolist() == ["a/x.dcm"]
