"""The page on Python and the notebook run on a small store."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from documented_commands import ROOT
from trained_run import Trained

import samcache

PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "notebooks" / "own-loop.ipynb"


@pytest.fixture
def reader(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder, which is the working directory."""
    shutil.copytree(trained.store, tmp_path / "team.zarr")
    shutil.copytree(trained.run, tmp_path / "runs" / "slca")
    shutil.copytree(trained.images / "test" / "benign", tmp_path / "new-images")
    shutil.copy(next(trained.images.rglob("*.png")), tmp_path / "scan.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("reader")
def test_the_page_on_python_runs(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    load = samcache.load_run  # the page's run was encoded with the official file
    monkeypatch.setattr(samcache, "load_run", lambda run: load(run, trained.checkpoint))
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(names["table"]) == 7
    assert names["features"].shape[1:] == names["neck"].shape[1:]


@pytest.mark.usefixtures("reader")
def test_the_notebook_runs_and_holds_no_outputs() -> None:
    pytest.importorskip("skorch", reason="skorch is not installed: it is an extra for developers")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code:
        exec("".join(cell["source"]), names)
    assert names["accuracy"] > 0.5, "nothing was learned"
    assert names["classifier"].history[-1, "valid_loss"] > 0
