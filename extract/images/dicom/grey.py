"""Show grey DICOM values as a viewer does: one ordered pipeline, from PS3.3.

Stored values -> padding mask (C.7.5.1.1.2) -> modality (C.11.1) -> VOI (C.11.2) -> photometric
interpretation (C.7.6.3.1.2) -> 8 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samcache.extract.images.colour import Grey, Window, map_grey, map_values
from samcache.extract.images.dicom.values import (
    Table,
    find_integer_limits,
    fit_integer,
    read_integer,
    read_items,
    read_number,
    read_table,
    read_text,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Values = npt.NDArray[Any]  # (H, W)
Mask = npt.NDArray[np.bool_]
Limits = tuple[float, float]

# where enhanced multi-frame objects keep what others have at the top, PS3.3, C.7.6.16
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


@dataclass(frozen=True)
class GreyPipeline:
    """The steps that a header names for the values of one frame.

    padding: the least and the greatest stored value that is not tissue; modality and voi: values ->
    values; limits: what is black and white after them, None for the values' own ends.
    """

    padding: tuple[int, int] | None
    modality: Callable[[Values], Values]
    voi: Callable[[Values], Values]
    limits: Limits | None
    inverted: bool

    def show(self, stored: Values) -> Grey:
        """Stored values (H, W) -> (H, W) uint8; padding is black.

        Raises ImageError where no value is finite.
        """
        mask = self._find_padding(stored)
        if mask is not None and mask.all():
            return np.zeros(stored.shape, np.uint8)
        values = self.voi(self.modality(stored))
        return map_grey(values, self.limits, self.inverted, mask)

    def _find_padding(self, stored: Values) -> Mask | None:
        if self.padding is None:
            return None
        least, most = self.padding
        return np.asarray((stored >= least) & (stored <= most))


def show_grey(stored: Values, header: "Dataset", window: Window | None, frame: int) -> Grey:
    """Show the stored values (H, W) of a frame as a viewer does, (H, W) uint8.

    window: in modality values, instead of the file's own. Raises ImageError if no value is finite.
    """
    return map_values(stored, read_pipeline(header, window, frame).show)


def read_pipeline(header: "Dataset", window: Window | None, frame: int) -> GreyPipeline:
    """Read a frame's pipeline; empty or impossible elements count as absent."""
    layers = _list_frame_layers(header, frame)
    big_endian = header.original_encoding[1] is False
    bits, signed = int(header.BitsStored), header.PixelRepresentation == 1
    modality, limits = _read_modality(layers, find_integer_limits(bits, signed), big_endian)
    voi, shown = (_keep_values, window) if window else _read_voi(layers, limits, big_endian)
    inverted = (
        header.PhotometricInterpretation == "MONOCHROME1"
        or read_text(header, "PresentationLUTShape") == "INVERSE"
    )
    return GreyPipeline(_read_padding(header, bits, signed), modality, voi, shown, inverted)


def _list_frame_layers(header: "Dataset", frame: int) -> list["Dataset"]:
    """List where a frame's modality and VOI elements may be, the nearest first."""
    groups = [
        *read_items(header, _PER_FRAME)[frame : frame + 1],
        *read_items(header, _SHARED)[:1],
    ]
    macros = [item for group in groups for macro in _MACROS for item in read_items(group, macro)]
    return [*macros, header]


def _read_padding(header: "Dataset", bits: int, signed: bool) -> tuple[int, int] | None:
    """Read the inclusive range of padding; either element may be the lower end."""
    value = read_integer(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = read_integer(header, "PixelPaddingRangeLimit")
    ends = [fit_integer(end, bits, signed) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _read_modality(
    layers: list["Dataset"], stored: tuple[int, int], big_endian: bool
) -> tuple[Callable[[Values], Values], Limits]:
    """Read the modality transformation, and the least and greatest value that it can give."""
    for layer in layers:
        items = read_items(layer, "ModalityLUTSequence")
        table = read_table(items, signed=stored[0] < 0, big_endian=big_endian)
        if table:
            return table.look_up, table.limits
        slope = read_number(layer, "RescaleSlope") or None
        intercept = read_number(layer, "RescaleIntercept")
        if slope is None and intercept is None:
            continue
        rescale = partial(_rescale, slope=slope or 1.0, intercept=intercept or 0.0)
        low, high = sorted(rescale(np.array(stored)).tolist())
        if np.isfinite(high - low):
            return rescale, (low, high)
    return partial(_rescale, slope=1.0, intercept=0.0), (float(stored[0]), float(stored[1]))


def _rescale(values: Values, slope: float, intercept: float) -> Values:
    scaled = values.astype(np.float64) * slope
    scaled += intercept
    return scaled


def _read_voi(
    layers: list["Dataset"], limits: Limits, big_endian: bool
) -> tuple[Callable[[Values], Values], Limits | None]:
    """Read the VOI transformation, and what is black and white after it.

    limits: the least and the greatest modality value.
    """
    for layer in layers:
        items = read_items(layer, "VOILUTSequence")
        table: Table | None = read_table(items, signed=limits[0] < 0, big_endian=big_endian)
        if table:
            return table.look_up, table.limits
        centre, width = (read_number(layer, f"Window{name}") for name in ("Center", "Width"))
        if centre is None or width is None or width <= 0:
            continue
        function = read_text(layer, "VOILUTFunction")
        if function == "SIGMOID":
            return partial(_sigmoid, centre=centre, width=width, limits=limits), limits
        if function != "LINEAR_EXACT" and width >= 1:  # LINEAR is not defined below: exact is meant
            centre, width = centre - 0.5, width - 1
        return partial(_linear, centre=centre, width=width, limits=limits), limits
    return _keep_values, None


def _keep_values(values: Values) -> Values:
    return values


def _linear(values: Values, centre: float, width: float, limits: Limits) -> Values:
    """Make a linear window over ``limits`` (PS3.3, C.11.2.1.2.1 and C.11.2.1.3.2)."""
    low, high = limits
    shown = np.where(values > centre + width / 2, high, low)
    inside = (values > centre - width / 2) & (values <= centre + width / 2)
    if inside.any():
        shown[inside] = ((values[inside] - centre) / width + 0.5) * (high - low) + low
    return shown


def _sigmoid(values: Values, centre: float, width: float, limits: Limits) -> Values:
    """Make a sigmoid window over ``limits`` (PS3.3, C.11.2.1.3.1)."""
    low, high = limits
    exponent = (-4 * (values - centre) / width).clip(-700, 700)  # what exp can hold
    return np.asarray((high - low) / (1 + np.exp(exponent)) + low)
