"""Grey goes through DICOM's elements in the standard's order, over the grid of their kinds."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom, table, words
from grey_reference import Lut, Shown, modality_value, shown_levels
from pixels import pixels_of
from pydicom.dataset import FileDataset

BITS = (8, 10, 12, 16)
MODALITY = ("none", "slope", "negative slope", "table", "inverting table")
VOI = ("none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "table")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
PADDING = ("none", "value", "value under the wrong VR", "range", "range downwards")
DEPTHS = {8: (8, 16), 10: (10, 12), 12: (14, 8), 16: (16, 10)}  # of modality and of VOI tables
GREY = 0.51  # levels, of rounding


def stored_values(bits: int, signed: bool) -> list[int]:
    """Values over the whole range, both ends among them."""
    least = -(1 << bits - 1) if signed else 0
    return [least + round(step * ((1 << bits) - 1) / 47) for step in range(48)]


@cache
def curve(first: int, count: int, bits: int, falling: bool = False) -> Lut:
    """A table that is no straight line, of no more entries than SS can count."""
    count = min(count, 32767)
    entries = [round((n / (count - 1)) ** 1.5 * (2**bits - 1)) for n in range(count)]
    return Lut(first, bits, entries[::-1] if falling else entries)


def with_modality(shown: Shown, kind: str, stored: list[int], bits: int) -> Shown:
    if "slope" in kind:
        return replace(shown, slope=-0.75 if "negative" in kind else 0.75, intercept=10.125)
    if "table" in kind:  # which does not reach either end of the values
        first, count = stored[3], (stored[-4] - stored[3]) or 1
        return replace(
            shown, modality=curve(first, count, DEPTHS[bits][0], falling="inverting" in kind)
        )
    return shown


def with_voi(shown: Shown, kind: str, stored: list[int], bits: int) -> Shown:
    values = sorted(modality_value(one, shown) for one in stored)
    span = values[-1] - values[0]
    if kind == "table":
        first = max(-32768, round(values[0] + span / 10))
        return replace(shown, voi=curve(first, round(span * 0.7), DEPTHS[bits][1]))
    if kind != "none":
        centre, width = round(values[0] + 0.4 * span), round(span * 0.6)
        return replace(shown, function=kind, centre=centre, width=width)
    return shown


def with_padding(shown: Shown, kind: str, stored: list[int]) -> Shown:
    if kind == "none":
        return shown
    ends = (stored[-2], stored[-2]) if kind.startswith("value") else (stored[0], stored[5])
    return replace(shown, padding=ends[::-1] if kind == "range downwards" else ends)


def file_of(shown: Shown, stored: list[int], bits: int, signed: bool, padding: str) -> FileDataset:
    kind = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    header = dicom(np.array(stored, kind).reshape(6, 8), bits)
    header.PhotometricInterpretation = shown.photometric
    if shown.slope is not None:
        header.RescaleSlope, header.RescaleIntercept = shown.slope, shown.intercept
    if shown.modality is not None:
        header.ModalityLUTSequence = table(shown.modality, "SS" if signed else "US")
    if shown.function is not None:
        header.WindowCenter, header.WindowWidth = shown.centre, shown.width
        if shown.function != "LINEAR":  # which is meant where nothing is said
            header.VOILUTFunction = shown.function
    if shown.voi is not None:
        below = min(modality_value(one, shown) for one in stored) < 0
        header.VOILUTSequence = table(shown.voi, "SS" if below else "US")
    if shown.padding is not None:
        wrong = padding == "value under the wrong VR"
        vr = "SS" if signed != wrong else "US"
        ends = words(shown.padding) if vr == "SS" else [end % 0x10000 for end in shown.padding]
        header.add_new("PixelPaddingValue", vr, ends[0])
        if "range" in padding:
            header.add_new("PixelPaddingRangeLimit", vr, ends[1])
    return header


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_grey_over_the_grid_of_elements_is_as_the_standard_has_it(
    bits: int, signed: bool, tmp_path: Path
) -> None:
    stored, wrong = stored_values(bits, signed), []
    for modality, voi, photometric, padding in product(MODALITY, VOI, PHOTOMETRIC, PADDING):
        shown = with_modality(Shown(photometric=photometric), modality, stored, bits)
        shown = with_padding(with_voi(shown, voi, stored, bits), padding, stored)
        path = tmp_path / "x.dcm"
        file_of(shown, stored, bits, signed, padding).save_as(path, enforce_file_format=True)
        found = pixels_of(path.read_bytes())[..., 0].ravel()
        off = float(np.abs(found - np.array(shown_levels(stored, shown))).max())
        if off > GREY:
            wrong.append(f"{modality}, {voi}, {photometric}, padding {padding}: off by {off:.1f}")
    assert not wrong, f"{len(wrong)} combinations, such as {wrong[:5]}"
