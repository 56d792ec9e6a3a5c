"""Heat maps for people: an image, and each level's mean gates over it, drawn by matplotlib."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure  # not pyplot: no window, no figure that outlives its use

from samcache.cache.files.whole_file import replace_file

RGB = npt.NDArray[np.uint8]
Map = npt.NDArray[np.floating]

CAUTION = "Gates do not explain the answer."
# Gates that differ by less within an image are written, not drawn. From 0 to 1 the lightness of
# viridis grows by 76 units of L*, and by half of that over an image. A range of 0.05 is 2 units,
# about the least difference that people see (2.3, Mahy et al. 1994).
LEAST_RANGE = 0.05

_COLOURS = "viridis"  # even steps of lightness; also for readers who cannot tell red from green
_STRENGTH = 0.5  # of the colours over the image
_COLUMNS = 3
_PIXELS_PER_INCH = 150
_INCHES = 2.2  # a picture's side in a file of its own
_LETTERS_PER_INCH = 13


def describe_range(gates: Map) -> str:
    """A level's gates in words, such as "0.449 to 0.555"."""
    return f"{gates.min():.3f} to {gates.max():.3f}"


def is_nearly_constant(gates: Map) -> bool:
    """Whether a level's gates differ too little within an image to be shown in colours."""
    return bool(gates.max() - gates.min() < LEAST_RANGE)


def draw_panel(
    image: RGB, maps: Mapping[str, Map], heading: str = "", inches: float = _INCHES
) -> Figure:
    """A figure of the image and of each level's gates over it, with scale, ranges and caution.

    A level whose gates are nearly constant is not drawn: the text below gives their range.

    image: (S, S, 3) uint8; maps: level -> (h, w) in [0, 1]. A block of colour is a cell, as SLCA
    grows it: nothing finer is known. All colours are on one fixed scale from 0 to 1. inches: a
    picture's side.
    """
    drawn = {level: gates for level, gates in maps.items() if not is_nearly_constant(gates)}
    columns = min(_COLUMNS, len(drawn) + 1)
    rows = math.ceil((len(drawn) + 1) / columns)
    width = inches * _COLUMNS
    letters = int(width * _LETTERS_PER_INCH)
    notes = textwrap.wrap(_describe_constant(maps), letters) + textwrap.wrap(CAUTION, letters)
    height = (inches + 0.4) * rows + 0.15 * len(notes) + (1 if heading else 0.5)
    figure = Figure((width, height), dpi=_PIXELS_PER_INCH, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    first, *others = axes.flat
    _draw(first, image, "image")
    for place, (level, gates) in zip(others, drawn.items(), strict=False):
        _draw_level(place, image, level, gates)
    if drawn:
        _add_scale(figure, axes)
    # ids come from outside: a dollar sign starts no formula
    if text := textwrap.fill(heading, letters):
        figure.suptitle(text, fontsize=9, x=0.02, ha="left", parse_math=False)
    figure.supxlabel("\n".join(notes), fontsize=8)
    return figure


def _describe_constant(maps: Mapping[str, Map]) -> str:
    """The ranges of the levels that are not drawn, such as "Nearly constant gates: neck …"."""
    ranges = [f"{level} {describe_range(g)}" for level, g in maps.items() if is_nearly_constant(g)]
    return f"Nearly constant gates: {', '.join(ranges)}." if ranges else ""


def _draw(axes: Any, image: RGB, title: str) -> None:
    axes.imshow(image)
    axes.set_title(title, fontsize=8)


def _draw_level(axes: Any, image: RGB, level: str, gates: Map) -> None:
    _draw(axes, image, f"{level}\n{describe_range(gates)}")
    height, width = image.shape[:2]
    axes.imshow(
        gates,
        cmap=_COLOURS,
        vmin=0,
        vmax=1,
        alpha=_STRENGTH,
        interpolation="nearest",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )


def _add_scale(figure: Figure, axes: Any) -> None:
    scale = ScalarMappable(Normalize(0, 1), _COLOURS)
    bar = figure.colorbar(scale, ax=axes, orientation="horizontal", aspect=30, pad=0.02)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
    bar.set_label("mean gate: 0 is shut, 1 is open", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def write_panel(path: Path, image: RGB, maps: Mapping[str, Map], heading: str) -> None:
    """Write ``draw_panel`` as PNG."""
    figure = draw_panel(image, maps, heading)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in ids that the font lacks
        with replace_file(path) as part:
            figure.savefig(part, format="png")
