"""DICOM elements that are empty, senseless or of another writer's habits; files without a head."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom, saved, table
from grey_reference import Lut
from pixels import pixels_of
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, RLELossless

from samcache.cache.errors import ImageError
from samcache.extract.images.dicom.frames import count_file_frames, hash_patient
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions

RAMP = np.tile(np.arange(64, dtype=np.uint16) * 64, (8, 1))  # 0 .. 4032
PLAIN = [round(n / 63 * 255) for n in range(64)]
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
WINDOWED = [round(n * 64 / 4095 * 255) for n in range(64)]
FALLING = [255 - level for level in WINDOWED]
STRAIGHT = Lut(0, 12, list(range(4096)))


def ramp(**elements: object) -> FileDataset:
    return dicom(RAMP, 12, **elements)


def raw(old: bytes, new: bytes, **elements: object) -> bytes:
    """A file in which bytes are others, of the same number."""
    data = saved(ramp(**elements))
    assert data.count(old) == 1
    assert len(old) == len(new)
    return data.replace(old, new)


def without(*keywords: str, **elements: object) -> FileDataset:
    header = ramp(**elements)
    for keyword in keywords:
        del header[keyword]
    return header


def item(**elements: object) -> Sequence:
    """A sequence of one table without a descriptor or data."""
    empty = Dataset()
    empty.add_new("LUTDescriptor", "US", elements.get("descriptor"))
    empty.add_new("LUTData", "OW", elements.get("data"))
    return Sequence([empty])


def padded(vr: str, value: object) -> bytes:
    header = ramp(**WINDOW)
    header.add_new("PixelPaddingValue", vr, value)
    return saved(header)


def signed_table(vr: str, first: int) -> bytes:
    """Modality values from -1024, and a VOI table whose first entry maps that."""
    header = ramp(RescaleSlope=1, RescaleIntercept=-1024)
    header.VOILUTSequence = table(Lut(first, 12, STRAIGHT.entries), vr)
    return saved(header)


def whole_table() -> bytes:
    """65,536 entries, which a descriptor counts as 0."""
    lut = Lut(0, 16, [min(n * 16, 65535) for n in range(65536)])
    return saved(ramp(VOILUTSequence=table(lut)))


def listed_table() -> bytes:
    """LUTData as a list of US."""
    sequence = table(STRAIGHT)
    sequence[0].add_new("LUTData", "US", STRAIGHT.entries)
    return saved(ramp(VOILUTSequence=sequence))


def packed_table(packed: bool) -> bytes:
    eight = Lut(0, 8, [n // 16 for n in range(4096)])
    return saved(ramp(VOILUTSequence=table(eight, packed=packed)))


def in_frames(top: dict[str, object], frame: dict[str, object]) -> bytes:
    """Windows at the top and in the frame's functional groups."""
    groups, macro = Dataset(), Dataset()
    for keyword, value in frame.items():
        setattr(macro, keyword, value)
    groups.FrameVOILUTSequence = Sequence([macro])
    return saved(ramp(PerFrameFunctionalGroupsSequence=Sequence([groups]), **top))


def in_upper_bits(signed: bool) -> bytes:
    """Values of 12 bits in the upper bits of 16, above bits that mean nothing."""
    values = (RAMP.astype(int) - 2048 * signed) * 16 + 9
    header = dicom(values.astype(np.int16 if signed else np.uint16), 12, HighBit=15)
    header.WindowCenter, header.WindowWidth = 0 if signed else 2048, 4096
    return saved(header)


SHOWN: dict[str, tuple[Callable[[], bytes], list[int]]] = {
    "empty slope and intercept": (
        lambda: saved(ramp(RescaleSlope=None, RescaleIntercept=None, **WINDOW)), WINDOWED),
    "empty intercept": (lambda: saved(ramp(RescaleSlope=1, RescaleIntercept=None)), PLAIN),
    "slope of 0": (lambda: saved(ramp(RescaleSlope=0, RescaleIntercept=0, **WINDOW)), WINDOWED),
    "slope that is no number": (
        lambda: raw(b"12.345", b"NaN   ", RescaleSlope="12.345", RescaleIntercept=0, **WINDOW),
        WINDOWED),
    "infinite slope": (
        lambda: raw(b"12.345", b"inf   ", RescaleSlope="12.345", RescaleIntercept=0, **WINDOW),
        WINDOWED),
    "slope with a decimal comma": (
        lambda: raw(b"0.5 ", b"0,5 ", RescaleSlope="0.5", RescaleIntercept=0,
                    WindowCenter=1024.25, WindowWidth=2048.5),
        WINDOWED),
    "window with a comma, of which there may be several": (
        lambda: raw(b"2048", b"20,8", **WINDOW), PLAIN),
    "empty centre": (lambda: saved(ramp(WindowCenter=None, WindowWidth=400)), PLAIN),
    "negative width": (lambda: saved(ramp(WindowCenter=40, WindowWidth=-400)), PLAIN),
    "unknown function": (lambda: saved(ramp(VOILUTFunction="CUBIC", **WINDOW)), WINDOWED),
    "empty VOI sequence": (lambda: saved(ramp(VOILUTSequence=Sequence(), **WINDOW)), WINDOWED),
    "empty VOI table": (lambda: saved(ramp(VOILUTSequence=item(), **WINDOW)), WINDOWED),
    "VOI table of 99 bits": (
        lambda: saved(ramp(VOILUTSequence=item(descriptor=[2, 0, 99], data=b"abcd"), **WINDOW)),
        WINDOWED),
    "empty modality table": (
        lambda: saved(ramp(ModalityLUTSequence=item(), RescaleSlope=-1, RescaleIntercept=4095,
                           **WINDOW)),
        FALLING),
    "empty window in the frame": (
        lambda: in_frames(WINDOW, {"WindowCenter": None, "WindowWidth": None}), WINDOWED),
    "window in the frame before a table at the top": (
        lambda: in_frames({"VOILUTSequence": table(Lut(0, 8, [7, 7]))}, WINDOW), WINDOWED),
    "empty padding": (lambda: padded("US", None), WINDOWED),
    "padding as unknown bytes": (lambda: padded("UN", b"\x00\x00"), WINDOWED),
    "padding that no pixel can be": (lambda: padded("SS", -2000), WINDOWED),
    "empty number of frames": (lambda: saved(ramp(NumberOfFrames=None, **WINDOW)), WINDOWED),
    "no photometric interpretation": (
        lambda: saved(without("PhotometricInterpretation", **WINDOW)), WINDOWED),
    "no pixel representation, samples or stored bits": (
        lambda: saved(without("PixelRepresentation", "SamplesPerPixel", "BitsStored", **WINDOW)),
        WINDOWED),
    "window narrower than 1": (
        lambda: saved(ramp(RescaleSlope="0.0001220703125", RescaleIntercept=0,
                           WindowCenter=0.25, WindowWidth=0.5)),
        [round(n * 64 / 4096 * 255) for n in range(64)]),
    "values in the upper bits": (lambda: in_upper_bits(signed=False), WINDOWED),
    "signed values in the upper bits": (lambda: in_upper_bits(signed=True), WINDOWED),
    "highest bit that no value has": (lambda: saved(ramp(HighBit=99, **WINDOW)), WINDOWED),
    "inverted presentation": (
        lambda: saved(ramp(PresentationLUTShape="INVERSE", **WINDOW)), FALLING),
    "first mapped value, signed": (lambda: signed_table("SS", -1024), WINDOWED),
    "first mapped value, signed, under US": (lambda: signed_table("US", -1024), WINDOWED),
    "65,536 entries": (whole_table, [round(n * 64 * 16 / 65535 * 255) for n in range(64)]),
    "entries as a list": (listed_table, WINDOWED),
    "8-bit entries in bytes": (lambda: packed_table(packed=True), [n * 4 for n in range(64)]),
    "8-bit entries in words": (lambda: packed_table(packed=False), [n * 4 for n in range(64)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHOWN)
def test_what_makes_no_sense_counts_as_absent_and_what_writers_mean_is_read(kind: str) -> None:
    make, expected = SHOWN[kind]
    np.testing.assert_allclose(pixels_of(make())[0, :, 0].astype(int), expected, atol=1)


def test_padding_is_black_whatever_the_files_padding_covers() -> None:
    assert (pixels_of(saved(dicom(np.full((4, 4), 9, np.uint8), PixelPaddingValue=9))) == 0).all()


def headless(implicit: bool, meta: bool = False, private: bool = False) -> bytes:
    """A bare data set, or one behind file meta information without preamble.

    private: whether it begins with a private group.
    """
    data = saved(ramp(**WINDOW))
    if meta:
        return data[132:]
    bare, buffer = Dataset(), io.BytesIO()
    bare.update({element.tag: element for element in ramp(**WINDOW)})
    if private:
        bare.add_new(0x00090010, "LO", "VENDOR")
        bare.add_new(0x00091001, "UN", b"data")
        for element in [element for element in bare if element.tag.group == 8]:
            del bare[element.tag]
    dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def without_syntax(encoded: bytes) -> bytes:
    """Preamble, then file meta information that does not name the transfer syntax."""
    return b"\0" * 128 + b"DICM\x02\x00\x02\x00UI\x04\x001.2\0" + encoded


HEADLESS = {
    "implicit": lambda: headless(implicit=True),
    "explicit": lambda: headless(implicit=False),
    "implicit, private group first": lambda: headless(implicit=True, private=True),
    "explicit, private group first": lambda: headless(implicit=False, private=True),
    "no preamble": lambda: headless(implicit=False, meta=True),
    "no preamble but the magic word": lambda: saved(ramp(**WINDOW))[128:],
    "no syntax, implicit": lambda: without_syntax(headless(implicit=True)),
    "no syntax, explicit": lambda: without_syntax(headless(implicit=False)),
}


@pytest.mark.parametrize("kind", HEADLESS)
def test_files_without_a_head_are_found_read_and_grouped(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("IM0001", "named.dcm"):
        (tmp_path / "a" / name).write_bytes(HEADLESS[kind]())
    (tmp_path / "a" / "notes").write_bytes(b"\x08\x00 and other words that are no elements")
    source = open_source(tmp_path, SourceOptions())
    assert source.samples["id"].tolist() == ["a/IM0001", "a/named.dcm"]
    group = source.samples["group"]
    (tmp_path / "whole.dcm").write_bytes(saved(ramp()))
    assert set(group) == {hash_patient(tmp_path / "whole.dcm")} != {""}
    assert source.passed_over == ("a/notes",)
    for row in range(2):
        shown = np.asarray(source.read_image(row).decode())[0, :, 0]
        np.testing.assert_allclose(shown.astype(int), WINDOWED, atol=1)


def encapsulated(syntax: UID, *frames: bytes) -> bytes:
    header = ramp(NumberOfFrames=len(frames))
    header.file_meta.TransferSyntaxUID = syntax
    header.add_new("PixelData", "OB", encapsulate(list(frames)))
    header["PixelData"].is_undefined_length = True
    return saved(header)


RLE_FRAME = b"".join(n.to_bytes(4, "little") for n in (2, 64, 72, *[0] * 13)) + b"\x81\0" * 8
UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated, compressed": (
        lambda: encapsulated(RLELossless, RLE_FRAME)[:-20], "the pixel data are truncated"),
    "truncated, plain": (lambda: saved(ramp())[:-20], "the pixel data are truncated"),
    "truncated before the pixels": (lambda: saved(ramp())[:400], "a file that ends before them"),
    "damaged frame": (
        lambda: encapsulated(RLELossless, b"\xff" * 80), "the pixel data are damaged"),
    "unknown syntax": (
        lambda: encapsulated(UID("1.2.840.10008.1.2.4.102"), RLE_FRAME),
        "its transfer syntax MPEG-4 .* is not supported"),
    "no rows": (lambda: saved(without("Rows")), "its DICOM header has no usable Rows"),
    "compressed pixels in a plain syntax": (
        lambda: encapsulated(RLELossless, RLE_FRAME).replace(b"1.2.840.10008.1.2.5\0",
                                                            b"1.2.840.10008.1.2.1\0"),
        "its pixel data are compressed, and its transfer syntax is Explicit"),
    "head without elements": (
        lambda: b"\0" * 128 + b"DICM" + b"\xff" * 50, "damaged DICOM header"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_has_its_reason_in_plain_words(kind: str) -> None:
    make, reason = UNREADABLE[kind]
    with pytest.raises(ImageError, match=reason):
        pixels_of(make())


def test_no_damage_is_told_in_the_words_of_an_exception() -> None:
    """A few hundred damaged files: the reasons are sentences, and of a handful of kinds."""
    rng, reasons = np.random.default_rng(0), set()
    for data in (
        saved(ramp(**WINDOW)),
        encapsulated(RLELossless, RLE_FRAME),
        HEADLESS["implicit"](),
    ):
        for _ in range(200):
            damaged = bytearray(data[: int(rng.integers(len(data) // 2, len(data) + 1))])
            for place in rng.integers(0, min(600, len(damaged)), 4):
                damaged[place] = int(rng.integers(0, 256))
            try:
                pixels_of(bytes(damaged))
            except ImageError as error:
                reasons.add(str(error).split(":")[-1].strip())
    known = ("damaged", "truncated", "supported", "usable", "without pixels", "not an image",
             "too large", "pixels", "larger than", "transfer syntax is", "no frame")  # fmt: skip
    assert not [reason for reason in reasons if not any(word in reason for word in known)]


def test_a_frame_that_the_file_does_not_have_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dicom(np.zeros((3, 8, 8), np.uint8))))
    assert count_file_frames(path) == 3
    with pytest.raises(ImageError, match="has no frame 3"):
        pixels_of(path.read_bytes(), frame=3)
