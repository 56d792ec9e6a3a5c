"""Heat maps for people: an image with each level's attention laid over it, by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samcache.cache.errors import ConfigError
from samcache.cache.whole_file import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RGB = npt.NDArray[np.uint8]
Map = npt.NDArray[np.floating]
Limits = tuple[float, float]

COLOURS = "viridis"  # even steps of lightness; also for those who do not tell red from green
_STRENGTH = 0.5  # of the heat map over the image
_INCHES = 2.6  # a picture's side
_PIXELS_PER_INCH = 100


def map_limits(maps: Mapping[str, Map]) -> Limits:
    """The least and the greatest value of some maps, a little apart where they are one."""
    low = min(float(values.min()) for values in maps.values())
    high = max(float(values.max()) for values in maps.values())
    return low, max(high, low + 1e-3)


def overlay(image: RGB, attention: Map, limits: Limits) -> RGB:
    """An image (S, S, 3) uint8 with a map (h, w) laid over it in colour, (S, S, 3) uint8.

    The map is grown by nearest neighbour, as SLCA grows it: what shows as one block is one cell,
    and nothing finer was known. limits: the values shown as the darkest and the brightest colour.
    """
    low, high = limits
    height, width = image.shape[:2]
    shares = np.clip((attention.astype(np.float64) - low) / (high - low), 0, 1)
    colours = _matplotlib().colormaps[COLOURS](shares, bytes=True)[:, :, :3]
    grown = Image.fromarray(np.ascontiguousarray(colours))
    grown = grown.resize((width, height), Image.Resampling.NEAREST)
    mixed = Image.blend(Image.fromarray(image), grown, _STRENGTH)
    return np.array(mixed)


def panel(image: RGB, maps: Mapping[str, Map], heading: str) -> Figure:
    """A figure of the image and of each level's map over it, with one colour bar for all.

    image: (S, S, 3) uint8; maps: level -> (h, w). The bar runs from the least to the greatest value
    of these maps, so that levels can be compared within the figure. Raises ConfigError where
    matplotlib is missing.
    """
    limits = map_limits(maps)
    pictures = {"image": image}
    pictures |= {level: overlay(image, values, limits) for level, values in maps.items()}
    matplotlib = _matplotlib()
    size = (_INCHES * len(pictures) + 0.9, _INCHES + 0.8)
    figure: Figure = matplotlib.figure.Figure(
        size, dpi=_PIXELS_PER_INCH, layout="constrained", facecolor="white"
    )
    axes = figure.subplots(1, len(pictures))
    for place, (title, picture) in zip(axes, pictures.items(), strict=True):
        place.imshow(picture, interpolation="nearest")
        place.set_title(title, fontsize=10)
        place.set_axis_off()
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(*limits), COLOURS)
    bar = figure.colorbar(scale, ax=list(axes), fraction=0.05, pad=0.01)
    bar.set_label("mean gate", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    # ids come from outside: a dollar sign starts no formula
    figure.suptitle(heading, fontsize=10, x=0.01, ha="left", parse_math=False)
    return figure


def write_panel(path: Path, image: RGB, maps: Mapping[str, Map], heading: str) -> None:
    """Write ``panel`` as PNG; raises ConfigError where matplotlib is missing."""
    figure = panel(image, maps, heading)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in ids that the font lacks
        with replace_file(path) as part:
            figure.savefig(part, format="png")


def check_drawable() -> None:
    """Raise ConfigError, saying what to install, where heat maps cannot be drawn."""
    _matplotlib()


def _matplotlib() -> Any:
    """matplotlib, without pyplot: no window, and no figure that outlives its use."""
    try:
        import matplotlib.cm
        import matplotlib.colors
        import matplotlib.figure
    except ImportError:
        raise ConfigError("heat maps need matplotlib: pip install 'samcache[report]'") from None
    return matplotlib
