"""Panels: gates on one scale over the image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samcache.train.pictures.overlay import CAUTION, Map, draw_panel, write_panel

IMAGE = np.full((8, 8, 3), 100, np.uint8)


def axes_of(maps: dict[str, Map]) -> list[Any]:
    """The axes of a panel: the image, each level, and the scale last."""
    return draw_panel(IMAGE, maps).axes


def test_a_cell_of_the_map_covers_its_own_part_of_the_image() -> None:
    _, level, *_ = axes_of({"neck": np.array([[0.0, 1.0], [0.0, 0.0]])})
    below, gates = level.images
    assert (below.get_array() == IMAGE).all()
    assert gates.get_extent() == below.get_extent()
    assert gates.get_interpolation() == "nearest"


@pytest.mark.parametrize(("low", "high"), [(0.449, 0.555), (0.0, 1.0), (0.9, 0.96)])
def test_colours_are_on_one_scale_from_shut_to_open(low: float, high: float) -> None:
    maps = {"patch": np.array([[low, high]]), "neck": np.array([[0.1, 0.7]])}
    _, patch, neck, *_, bar = axes_of(maps)
    limits = [place.images[1].get_clim() for place in (patch, neck)]
    assert limits == [(0, 1), (0, 1)]
    assert patch.get_title() == f"patch\n{low:.3f} to {high:.3f}"
    assert bar.get_xlim() == (0, 1)
    assert "0 is shut, 1 is open" in bar.get_xlabel()


@pytest.mark.parametrize(("spread", "coloured"), [(0.049, False), (0.051, True)])
def test_gates_that_hardly_differ_are_written_and_not_drawn(spread: float, coloured: bool) -> None:
    figure = draw_panel(IMAGE, {"late": np.array([[0.5, 0.5 + spread]])})
    written = f"0.500 to {0.5 + spread:.3f}"
    assert len(figure.axes) == (3 if coloured else 1)  # the image, the level, the scale
    assert (f"Nearly constant gates: late {written}." in figure.get_supxlabel()) is not coloured
    if coloured:
        assert figure.axes[1].get_title() == f"late\n{written}"


def test_the_caution_is_inside_the_picture() -> None:
    assert CAUTION in draw_panel(IMAGE, {"neck": np.full((2, 2), 0.5)}).get_supxlabel()


def test_a_panel_is_a_picture_whatever_the_id_is(tmp_path: Path) -> None:
    maps = {"patch": np.random.default_rng(0).random((4, 4)), "neck": np.full((2, 2), 0.5)}
    write_panel(tmp_path / "panel.png", IMAGE, maps, r"a$b_{c$.png \frac ✓ 肺 <id>" + "x" * 200)
    with Image.open(tmp_path / "panel.png") as written:
        assert written.width > written.height
