"""What a DICOM viewer shows of grey values, one value at a time, from the standard's own text.

It shares no code with the product. PS3.3: padding C.7.5.1.1.2, modality C.11.1, VOI C.11.2,
photometric interpretation C.7.6.3.1.2. Padding is black, and the values' own ends stand for a
missing window, which the standard leaves to the viewer.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Lut:
    """first: the value that the first entry maps."""

    first: int
    bits: int
    entries: list[int]

    def at(self, value: float) -> int:
        """The entry of a value, which is rounded to an integer."""
        place = math.floor(value + 0.5) - self.first
        if place < 0:
            return self.entries[0]
        return self.entries[place] if place < len(self.entries) else self.entries[-1]


@dataclass(frozen=True)
class Shown:
    """A file's elements: slope, intercept or a modality table; a window or a VOI table; padding."""

    slope: float | None = None
    intercept: float | None = None
    modality: Lut | None = None
    function: str | None = None
    centre: float = 0.0
    width: float = 0.0
    voi: Lut | None = None
    photometric: str = "MONOCHROME2"
    padding: tuple[int, int] | None = None


def modality_value(stored: int, shown: Shown) -> float:
    """A stored value's modality value."""
    if shown.modality is not None:
        return shown.modality.at(stored)
    if shown.slope is not None and shown.intercept is not None:
        return stored * shown.slope + shown.intercept
    return stored


def is_padding(stored: int, shown: Shown) -> bool:
    """Whether a stored value is padding, in a range given in either order."""
    if shown.padding is None:
        return False
    return min(shown.padding) <= stored <= max(shown.padding)


def shown_levels(stored: list[int], shown: Shown) -> list[float]:
    """Each stored value's grey level, 0 to 255, not rounded."""
    values = [modality_value(one, shown) for one in stored if not is_padding(one, shown)]
    levels = []
    for one in stored:
        if is_padding(one, shown):
            levels.append(0.0)
            continue
        level = _fraction(modality_value(one, shown), shown, min(values), max(values)) * 255
        levels.append(255 - level if shown.photometric == "MONOCHROME1" else level)
    return levels


def _fraction(value: float, shown: Shown, least: float, most: float) -> float:
    """Where a modality value stands between black (0) and white (1)."""
    centre, width = shown.centre, shown.width
    if shown.voi is not None:
        return shown.voi.at(value) / (2**shown.voi.bits - 1)
    if shown.function == "LINEAR":
        if value <= centre - 0.5 - (width - 1) / 2:
            return 0.0
        if value > centre - 0.5 + (width - 1) / 2:
            return 1.0
        return (value - (centre - 0.5)) / (width - 1) + 0.5
    if shown.function == "LINEAR_EXACT":
        if value <= centre - width / 2:
            return 0.0
        if value > centre + width / 2:
            return 1.0
        return (value - centre) / width + 0.5
    if shown.function == "SIGMOID":
        return 1 / (1 + math.exp(-4 * (value - centre) / width))
    return (value - least) / (most - least)
