"""Frames and pages that are dropped, and images of one colour, are counted and named."""

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from cines import folder_of_cines, write_cine
from click.testing import CliRunner
from PIL import Image, features
from shown import summary_text
from tiny_extraction import Extract

from samcache.cli import cli
from samcache.commands.show.extraction import describe_oddities, summary_to_json
from samcache.extract.images.oddities import Oddities, Tally, has_several_frames, is_single_colour


def pages(kind: str, count: int, **options: object) -> bytes:
    """An image file with so many different frames or pages."""
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    first, *rest = (
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)) for _ in range(count)
    )
    if count > 1:
        options |= {"save_all": True, "append_images": rest}
    first.save(buffer, kind, **options)
    return buffer.getvalue()


def cine(count: int, folder: Path) -> bytes:
    return write_cine(folder / "x.dcm", 0, bright=True, frames=count).read_bytes()


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "AVIF", "DICOM"])
@pytest.mark.parametrize("count", [1, 3])
def test_files_of_several_frames_are_known(kind: str, count: int, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = cine(count, tmp_path) if kind == "DICOM" else pages(kind, count)
    assert has_several_frames(data) is (count > 1)


def test_more_frames_than_a_file_can_hold_are_one(tmp_path: Path) -> None:
    file = pydicom.dcmread(io.BytesIO(cine(3, tmp_path)))
    file.NumberOfFrames = 10**6
    file.save_as(claiming := io.BytesIO())
    assert not has_several_frames(claiming.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "PPM", "JPEG2000"])
def test_other_formats_have_one(kind: str) -> None:
    assert not has_several_frames(pages(kind, 1))


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (8, 8), (15, 15)])
def test_one_pixel_makes_another_image(place: tuple[int, int]) -> None:
    image = Image.new("RGB", (16, 16), (9, 9, 9))
    assert is_single_colour(image)
    image.putpixel(place, (9, 9, 10))
    assert not is_single_colour(image)


def test_tallies_name_the_first_few() -> None:
    total = sum((Oddities.of(row, True, row % 2 == 0) for row in range(100)), Oddities())
    assert total.several == Tally(100, (0, 1, 2, 3, 4))
    assert total.single_colour.count == 50
    assert describe_oddities(Oddities.of("a.tif", True, True)) == [
        "1 file has several frames or pages: the first is used (first: a.tif)",
        "1 image is a single colour (first: a.tif)",
    ]


@pytest.fixture
def blank_first_pages(tmp_path: Path) -> Path:
    """Six scans of four pages whose first is black, and six pictures."""
    rng = np.random.default_rng(0)
    for number in range(6):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        page = Image.fromarray(rng.integers(0, 4000, (16, 16)).astype(np.uint16))
        page.copy().save(folder / f"p{number}.png")
        black = Image.fromarray(np.zeros((16, 16), np.uint16))
        black.save(folder / f"s{number}.tif", save_all=True, append_images=[page] * 3)
    return tmp_path / "scans"


def test_check_and_extract_tell_of_them(blank_first_pages: Path, run_extract: Extract) -> None:
    several = "6 files have several frames or pages: the first is used (first: a/s0.tif, a/s2.tif"
    single = "6 images are a single colour (first: a/s0.tif"
    words = ["extract", str(blank_first_pages), "--check"]
    told = CliRunner().invoke(cli, words).stdout
    assert several in told
    assert single in told
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)["noted"]
    assert found["several"]["count"] == found["single_colour"]["count"] == 6
    _, summary = run_extract(source=blank_first_pages)
    assert several in summary_text(summary)
    assert single in summary_text(summary)
    assert json.loads(json.dumps(summary_to_json(summary)))["noted"]["several"]["count"] == 6
    _, again = run_extract(source=blank_first_pages)
    assert "single colour" not in summary_text(again), "nothing was decoded"


@pytest.mark.parametrize(("frames", "count"), [("first", 4), ("middle", 0), ("all", 0)])
def test_chosen_frames_are_not_dropped_ones(tmp_path: Path, frames: str, count: int) -> None:
    folder = folder_of_cines(tmp_path / "cines", 4)
    words = ["extract", str(folder), "--check", "--frames", frames, "--json"]
    assert json.loads(CliRunner().invoke(cli, words).stdout)["noted"]["several"]["count"] == count
