"""The page in a real browser: no error, no request, every figure drawn, on any screen, printed."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reported_runs import SCRIPT, ReportedRuns, with_classes
from runs_of_kinds import KINDS

from samcache.cache.text import escape_controls
from samcache.train.report.checks.result import check_run
from samcache.train.report.examples import Examples
from samcache.train.report.facts import read_facts
from samcache.train.report.page import render, write_report

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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_kind_fits_every_screen(
    browser: Any, runs_of_kinds: dict[str, Path], kind: str, size: str, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    write_report((runs_of_kinds[kind],), None, None, out)
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(out.as_uri())
    boxes = [drawing.bounding_box() for drawing in page.locator("figure svg").all()]
    assert len(boxes) >= 4
    assert all(box["height"] > 150 and 150 < box["width"] <= width for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    cut = page.evaluate(
        """width => [...document.querySelectorAll(".tiles *, .verdict p, #subgroups p, h1, h2, h3")]
          .filter(e => e.getBoundingClientRect().right > width).map(e => e.textContent)""",
        width,
    )
    assert cut == []
    assert troubles == []
    page.close()


@pytest.fixture(scope="module")
def long_names_file(reported_runs: ReportedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose classes, in every table and figure, have long names of one word."""
    facts = read_facts((reported_runs.slca, reported_runs.none), None, None)
    names = tuple(
        f"adenocarcinoma_of_the_{place}_{'x' * 30}" for place in ("colon", "lung", "skin")
    )
    counts = {split: dict.fromkeys(names, 123_456) for split in ("train", "val", "test")}
    run = with_classes(facts.run, names)
    facts = replace(facts, run=run, described={**facts.described, "counts": counts})
    html = render(facts, check_run(facts), Examples([], False, "not drawn"), [])
    out = tmp_path_factory.mktemp("long") / "report.html"
    out.write_text(html, encoding="utf-8")
    return out


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_long_class_names_are_not_cut(browser: Any, long_names_file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(long_names_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        """width => [...document.querySelectorAll(".metrics th, .metrics td, .tiles *, .verdict p")]
          .filter(e => e.offsetParent && e.getBoundingClientRect().width > 0)
          .filter(e => e.getBoundingClientRect().right > width || e.scrollWidth > e.clientWidth + 1)
          .map(e => e.textContent)""",
        width,
    )
    assert cut == []
    page.close()


@pytest.mark.parametrize("opened", [("phone", "light")], indirect=True)
def test_a_table_that_goes_on_shows_it(opened: Any) -> None:
    """Tables wider than a phone scroll within their box, under a shadow at the edge."""
    boxes = opened.evaluate(
        """[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth)
          .map(e => [getComputedStyle(e).backgroundImage, e.tabIndex])"""
    )
    assert boxes
    assert all(shadow.count("linear-gradient") == 4 and tab == 0 for shadow, tab in boxes)


@everywhere
def test_a_legend_hides_no_line(opened: Any) -> None:
    """Every text of a legend is below the axes and their labels."""
    for title, label, first in (
        ("ROC curve", "false alarms (1 − specificity)", "AUC "),
        ("Precision and recall", "found (recall)", "AP "),
        ("Data efficiency", "training images", "run "),
        ("Learning curves", "epoch", "training"),
    ):
        drawing = opened.locator(f'svg[aria-label^="{title}"]')
        above = drawing.locator("text", has_text=re.compile(f"^{re.escape(label)}$")).bounding_box()
        texts = drawing.locator("text").all()
        legend = [text for text in texts if (text.text_content() or "").startswith(first)]
        legend = [text for text in legend if text.text_content() != label]
        assert legend, title
        for text in legend:
            assert text.bounding_box()["y"] >= above["y"] + above["height"] - 1, title


@pytest.mark.parametrize("opened", [("laptop", "light")], indirect=True)
def test_names_are_text_and_figures_have_their_words(opened: Any) -> None:
    assert escape_controls(SCRIPT) in opened.locator("h1").inner_text()
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
