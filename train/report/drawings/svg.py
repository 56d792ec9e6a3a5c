"""matplotlib figures as inline SVG that takes the page's colours, light and dark, and its words.

Figures are drawn in marker colours; each becomes a colour of the page's style sheet.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from samcache.cache.text import escape_controls

INK, FAINT, _PAPER = "#010a01", "#010a02", "#010a03"
SERIES = tuple(f"#010b0{place}" for place in range(1, 9))


def _name_variable(name: str) -> str:
    """A colour of the page's style sheet."""
    return f"var(--{name})"


_PAGE_COLOURS = {
    INK: "currentColor",
    FAINT: _name_variable("faint"),
    _PAPER: _name_variable("paper"),
    **{marker: _name_variable(f"series-{place}") for place, marker in enumerate(SERIES, 1)},
}
_INCHES = (4.4, 3.5)
_LONGEST = 24  # letters of a name in a figure
_LEGEND_LINE = 0.2  # inches
_LEGEND_LETTERS = 46  # that fit beside one another
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names come from outside: a dollar sign starts no formula
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.facecolor": _PAPER,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")


@dataclass(frozen=True)
class Figure:
    """A drawing with its words: what it is, what it shows here, how to read it."""

    title: str
    finding: str
    reading: str
    svg: Markup


@contextmanager
def open_canvas(**subplots: Any) -> Iterator[Any]:
    """A matplotlib figure and its axes, in the page's marker colours."""
    style: Any = {**_STYLE, **dict.fromkeys(_INKED, INK)}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in names that the font lacks
        drawing = Drawing(_INCHES, layout="constrained")
        yield drawing, drawing.subplots(**subplots)


def add_legend(drawing: Any) -> None:
    """A legend of all axes below them, where it hides no line; the drawing grows by its height."""
    labels = [text for axes in drawing.axes for text in axes.get_legend_handles_labels()[1]]
    longest = max(map(len, labels)) + 6  # and the line before the text
    columns = max(1, min(len(labels), _LEGEND_LETTERS // longest))
    lines = math.ceil(len(labels) / columns)
    drawing.set_figheight(drawing.get_figheight() + _LEGEND_LINE * lines)
    drawing.legend(loc="outside lower center", ncols=columns)


def shorten_name(name: str) -> str:
    """A name from outside as a figure can show it: printable, and not too long."""
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return printable if len(printable) <= _LONGEST else printable[: _LONGEST - 1] + "…"


def make_figure(drawing: Any, title: str, finding: str, reading: str) -> Figure:
    """A drawing as an SVG element whose text alternative is its title and finding.

    title: unique within the page, since it makes the ids. The same drawing gives the same text.
    """
    out = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": title}):
        drawing.savefig(out, format="svg", transparent=True, metadata=nothing)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(out.getvalue())
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}g":
            element.attrib.pop("id", None)  # such as "axes_1": the same in every figure
        if "style" in element.attrib:
            element.set("style", _apply_colours(element.attrib["style"]))
    for attribute in ("width", "height"):
        del root.attrib[attribute]
    root.set("role", "img")
    root.set("aria-label", escape_controls(f"{title}. {finding}"))
    svg = Markup(ET.tostring(root, encoding="unicode"))  # escaped by ElementTree
    return Figure(title, finding, reading, svg)


def _apply_colours(style: str) -> str:
    for marker, colour in _PAGE_COLOURS.items():
        style = style.replace(marker, colour)
    return style
