"""The page in a real browser: no error, no request, every figure drawn, on any screen, printed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_runs import SCRIPT, ReportedRuns

from samcache.cache.visible import visible
from samcache.train.report.page import write_report

SIZES = {"laptop": (1440, 900), "phone": (390, 844)}
FIGURES = 6


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # without a sandbox, which containers often cannot give: the page is our own
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_file(reported_runs: ReportedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two runs, away from everything that it was made from."""
    out = tmp_path_factory.mktemp("alone") / "report.html"
    write_report((reported_runs.slca, reported_runs.none), None, None, out)
    return out


@pytest.fixture
def opened(browser: Any, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page at a size and in a colour scheme; nothing may go wrong in it."""
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda made: troubles.append(made.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert [t for t in troubles if not t.startswith("data:")] == [page_file.as_uri()]


everywhere = pytest.mark.parametrize(
    "opened", [("laptop", "light"), ("laptop", "dark"), ("phone", "light")], indirect=True
)


@everywhere
def test_every_figure_is_drawn_and_none_is_wider_than_the_screen(opened: Any) -> None:
    boxes = [drawing.bounding_box() for drawing in opened.locator("figure svg").all()]
    assert len(boxes) == FIGURES
    width = opened.viewport_size["width"]
    assert all(box["height"] > 150 and 150 < box["width"] <= width for box in boxes)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    loaded = opened.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert loaded
    assert all(loaded)


@everywhere
def test_text_and_curves_stand_out_from_the_paper(opened: Any) -> None:
    colours = opened.evaluate(
        """() => {
          const style = (e, name) => getComputedStyle(e)[name];
          const text = document.querySelector("figure svg text");
          const line = document.querySelector("figure svg path[style*='--series-2']");
          return [style(document.body, "backgroundColor"), style(text, "fill"),
                  style(line, "stroke"), style(document.querySelector(".caution"), "color"),
                  style(document.querySelector(".caution"), "backgroundColor")];
        }"""
    )
    paper, text, line, warning, panel = (_lightness(colour) for colour in colours)
    assert _contrast(paper, text) > 7
    assert _contrast(paper, line) > 3
    assert _contrast(warning, panel) > 7


@pytest.mark.parametrize("opened", [("laptop", "light")], indirect=True)
def test_names_are_text_and_figures_have_their_words(opened: Any) -> None:
    assert visible(SCRIPT) in opened.locator("h1").inner_text()
    assert opened.locator("script").count() == 0
    snapshot = opened.locator("main").aria_snapshot()
    for title in ("ROC curve", "Confusion matrix", "Calibration", "Learning curves"):
        assert f'img "{title}. ' in snapshot.replace("\\", ""), title


@pytest.mark.parametrize("opened", [("laptop", "dark")], indirect=True)
def test_it_prints_on_paper_colours_with_its_details_open(opened: Any) -> None:
    opened.emulate_media(media="print")
    assert _lightness(opened.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert opened.pdf(format="A4").startswith(b"%PDF")
    assert opened.locator("details dl").first.bounding_box()["height"] > 100


def _lightness(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)" (WCAG 2)."""
    values = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: float, second: float) -> float:
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)
