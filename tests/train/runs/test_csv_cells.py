"""No cell of a CSV file is a formula to a spreadsheet, and samcache reads back what it was."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samcache.cli import cli
from samcache.train.compare import compare
from samcache.train.runs.csv_cells import guard_cell, guard_cells, read_cell
from samcache.train.runs.tables import read_table

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|x", "'+cmd|x"),
        ("-a.png", "'-a.png"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\tx", "'\tx"),
        ("'=x", "''=x"),
        ("-12", "-12"),
        ("+1.5e-3", "+1.5e-3"),
        ("it's", "it's"),
        ("'quoted'", "'quoted'"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(value: object, cell: object) -> None:
    assert guard_cell(value) == cell


@given(st.text() | st.text("'=+-@\t19.e"))
def test_reading_gives_back_every_text(text: str) -> None:
    cell = guard_cell(text)
    assert read_cell(cell) == text
    assert not cell.startswith(FORMULAS) or float(cell) is not None


def test_numbers_of_a_table_stay_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["=a", "-1"], "label": ["@x", "y"], "p_x": [-0.5, 1.0]})
    guard_cells(table).to_csv(tmp_path / "t.csv", index=False)
    text = (tmp_path / "t.csv").read_text()
    assert text == "id,label,p_x\n'=a,'@x,-0.5\n-1,y,1.0\n"
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv", ("id",)), table, check_dtype=False)


def test_names_like_formulas_go_through_every_command(
    tmp_path: Path, made_run: Callable[..., Path]
) -> None:
    run = made_run(_manifest(tmp_path / "images"))
    store = tmp_path / "s.zarr"
    written = {
        "run": run / "predictions.csv",
        "seen": run / "seen.csv",
        "evaluated": tmp_path / "e" / "predictions.csv",
        "predicted": tmp_path / "p.csv",
    }
    samcache("evaluate", run, store, "--out", tmp_path / "e")
    samcache("predict", run, store, "--out", written["predicted"])
    for name, path in written.items():
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert cells["id"].str.startswith("'=").all(), name
        for column in ("label", "predicted"):
            if column in cells:
                assert set(cells[column]) <= {"'@a", "'+b"}, name
    shutil.copytree(run, tmp_path / "same")
    first, second = compare((run, tmp_path / "same"), None, ("auc",)).rows
    assert first.summary == second.summary


def samcache(*words: object) -> None:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output


@pytest.fixture
def made_run(run_extract: Callable[..., object], tmp_path: Path) -> Callable[..., Path]:
    def make(source: Path) -> Path:
        run_extract("s", source=source)
        words = ["train", tmp_path / "s.zarr", "--out", tmp_path / "run", "--epochs", "1"]
        words += ["--backbone", "timm:test_resnet", "--image-size", "32", "--attention", "none"]
        samcache(*words)
        return tmp_path / "run"

    return make


def _manifest(folder: Path) -> Path:
    folder.mkdir()
    rng, lines = np.random.default_rng(0), []
    for place in range(24):
        name, split = f"=1+{place}.png", ("train", "val", "test")[place % 3]
        Image.fromarray(rng.integers(0, 255, (20, 20)).astype(np.uint8)).save(folder / name)
        lines.append({"file": name, "class": ("@a", "+b")[place // 3 % 2], "split": split})
    pd.DataFrame(lines).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"
