"""Make the pictures of docs/report.md again: python docs/report_pictures.py REPORT.html FOLDER.

``images/`` holds BreastMNIST's 780 images of 28 px as PNG files in folders such as
``train/malignant``, because MedMNIST's file has no class names.

    samcache extract images/ --store breast.zarr --encoder vit_t --image-size 128
    OPTIONS="--epochs 8 --image-size 48 --fractions 0.1,0.3,1"
    samcache train breast.zarr --out example/joined $OPTIONS --join
    samcache train breast.zarr --out example/none $OPTIONS --attention none
    samcache train breast.zarr --out example/shuffled $OPTIONS --attention shuffled --join
    samcache report example/joined example/none example/shuffled --out report.html
    python docs/report_pictures.py report.html docs/figures
"""

import io
import shutil
import sys
from itertools import pairwise
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

SCREENS = {"laptop": (1440, 900), "phone": (390, 844)}
CUTS = ("#examples", "#run")  # sections that begin the next part of a whole page

EXAMPLES = 2  # the part with photographs and a colour scale
COLOURS = 256  # of the other parts: a third of the bytes, and no difference to see


def shot(page: Page, whole: bool) -> Image.Image:
    """A screenshot of the first screen, or of the whole page."""
    return Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")


def main(page_file: Path, folder: Path) -> None:
    """Write report-SCREEN.png, report-SCREEN-PART.png and report-dark.png."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for screen, (width, height) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(page_file.resolve().as_uri())
            shot(page, whole=False).save(folder / f"report-{screen}.png", optimize=True)
            whole = shot(page, whole=True)
            tops = [int(page.locator(cut).bounding_box()["y"]) for cut in CUTS]
            edges = [0, *tops, whole.height]
            for part, (top, bottom) in enumerate(pairwise(edges), 1):
                part_of_page = whole.crop((0, top, whole.width, bottom))
                if part != EXAMPLES:
                    part_of_page = part_of_page.quantize(COLOURS)
                part_of_page.save(folder / f"report-{screen}-{part}.png", optimize=True)
            if screen == "laptop":
                page.emulate_media(color_scheme="dark")
                shot(page, whole=False).save(folder / "report-dark.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
