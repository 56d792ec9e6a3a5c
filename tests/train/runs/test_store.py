"""The store of a run is found from any folder, also after a move, and is never another's."""

import json
import shutil
from pathlib import Path

import pytest
from trained_run import Trained, copied, samcache

from samcache.train.runs.store import list_recorded_places


@pytest.fixture
def here(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``toy.zarr`` and ``runs/a``, trained there with relative paths."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    shutil.copytree(trained.store, "toy.zarr")
    words = ["--seeds", 0, "--epochs", 1, "--image-size", 32, "--batch-size", 8, "--device", "cpu"]
    words += ["--backbone", "timm:test_resnet"]
    assert samcache("train", "toy.zarr", "--out", "runs/a", *words).exit_code == 0
    return home


def forget_the_path_from_the_run(run: Path) -> Path:
    """The run as an older version has written it."""
    folder = copied(run, run.parent / "older")
    config = json.loads((folder / "config.json").read_text())
    shutil.rmtree(folder)
    del config["store_from_run"]
    folder = copied(run, folder)
    (folder / "config.json").write_text(json.dumps(config))
    results = json.loads((folder / "results.json").read_text())
    for name in ("files", "checksum"):
        del results[name]
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.mark.usefixtures("not_exported")
@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older run"])
@pytest.mark.parametrize("moved", [False, True], ids=["in place", "moved together"])
def test_report_and_export_find_the_store_from_another_folder(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool, moved: bool
) -> None:
    run = here / "runs" / "a"
    if older:
        run = forget_the_path_from_the_run(run)
    if moved:
        here.rename(tmp_path / "elsewhere")
        run = tmp_path / "elsewhere" / run.relative_to(here)
    monkeypatch.chdir("/")
    report = samcache("report", run, "--out", tmp_path / "r.html")
    assert (report.exit_code, report.stderr) == (0, "")
    assert "cannot" not in report.stdout
    exported = samcache("export", run, "--out", tmp_path / "a.pt2")
    assert "stored sample" in exported.stdout


@pytest.mark.usefixtures("not_exported")
def test_a_store_that_is_not_found_is_told_on_standard_error(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    shutil.rmtree(here / "toy.zarr")
    report = samcache("report", here / "runs/a", "--out", tmp_path / "r.html")
    assert report.exit_code == 0
    told = report.stderr
    assert "warning: no examples: the store of" in told
    assert f"looked at toy.zarr (no store) and {here / 'toy.zarr'} (no store)" in told
    assert "give it with --store" in told
    assert "extract" not in report.output
    assert "--store" in samcache("export", here / "runs/a", "--out", tmp_path / "a.pt2").stderr
    assert samcache("report", "-q", here / "runs/a", "--out", tmp_path / "r.html").stderr == ""


def test_a_store_of_the_same_name_is_not_taken_for_the_runs(
    here: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained.extract(Path("toy.zarr"), pool=1)
    report = samcache("report", here / "runs/a", "--out", "r.html")
    assert report.stderr == ""  # the run's own was found
    shutil.rmtree(here / "toy.zarr")
    report = samcache("report", here / "runs/a", "--out", "r.html")
    assert "toy.zarr holds other features than those that" in report.stderr


@pytest.mark.parametrize(
    ("config", "places"),
    [
        ({"store": "s3://team/a.zarr", "out": "runs/a"}, ["s3://team/a.zarr"]),
        ({"store": "/data/a.zarr", "out": "runs/a"}, ["/data/a.zarr"]),
        ({"store": "/data/a.zarr", "out": "/data/runs/a"}, ["/data/a.zarr", "/new/a.zarr"]),
        ({"store": "../a.zarr", "out": "a"}, ["../a.zarr", "/new/a.zarr"]),
        ({"store": "/x", "out": "y", "store_from_run": "../a.zarr"}, ["/x", "/new/runs/a.zarr"]),
        ({"store": "/x", "out": "y", "store_from_run": "https://evil/a"}, ["/x"]),
        ({"store": "/x", "out": "y", "store_from_run": "/etc"}, ["/x"]),
    ],
)
def test_places_of_a_store(config: dict[str, str], places: list[str]) -> None:
    assert list_recorded_places(Path("/new/runs/a"), config) == places
