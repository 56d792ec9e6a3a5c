"""The source distribution and the wheel made of it: what they hold, and README's commands."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from documented_commands import ROOT, commands
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import write_npz

pytestmark = pytest.mark.slow

MADE = ("PKG-INFO", "setup.cfg", "samcache.egg-info/")
# README's commands run with the tiny encoder, whose weights are random, and smaller sizes.
TINY = ["--checkpoint", "tiny.pth", "--pool", "2"]
QUICK = ["--epochs", "1", "--seeds", "0", "--image-size", "32", "--batch-size", "8"]
QUICK += ["--backbone", "timm:test_resnet"]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
# One process for all commands: each import of torch would take seconds.
RUN = """
import json, sys
import tiny_encoder
from samcache.cli import cli

for words, accepted in json.loads(sys.argv[1]):
    try:
        cli(words, prog_name="samcache")
    except SystemExit as ended:
        assert (ended.code or 0) in accepted, (words, ended.code)
"""
README_NOT_RUN = ("make ", "pip ", "samcache cache copy team.zarr s3:", "samcache train s3:")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a clone: no list of files to compare with")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def dist(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both distributions, built without a network: the wheel from the source distribution."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-c", BUILD.format("sdist"), out], source)
    (archive,) = out.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as opened:
        opened.extractall(unpacked, filter="data")
    (project,) = unpacked.iterdir()
    run([sys.executable, "-c", BUILD.format("wheel"), out], project)
    return out


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and this one's packages but the project."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    (wheel,) = dist.glob("*.whl")
    made = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", made, "install", "--quiet", "--no-compile"]
    run([*pip, "--no-deps", "--no-index", wheel], folder)
    site = Path(run([made, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder))
    packages = Path(sysconfig.get_path("purelib"))
    for one in packages.iterdir():
        if "samcache" not in one.name and one.suffix != ".pth" and not (site / one.name).exists():
            (site / one.name).symlink_to(one)
    return made


def run(command: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def contents(dist: Path) -> set[str]:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        return {one.name.partition("/")[2] for one in opened.getmembers() if one.isfile()}


def metadata(dist: Path) -> Message:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [one for one in opened.namelist() if one.endswith("/METADATA")]
        return BytesParser().parsebytes(opened.read(name))


def test_the_source_distribution_holds_what_the_repository_holds(
    dist: Path, tracked: list[str]
) -> None:
    made = {name for name in contents(dist) if name.startswith(MADE)}
    assert contents(dist) - made == set(tracked) - made


def test_the_wheel_holds_the_packages_and_nothing_else(dist: Path, tracked: list[str]) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    rooms = ("api/", "cache/", "commands/", "extract/", "train/")
    ours = {name for name in tracked if name.startswith(rooms)}
    ours |= {"__init__.py", "cli.py", "py.typed"}
    assert held == {f"samcache/{name}" for name in ours}


def test_the_page_of_an_index_links_only_to_other_sites(dist: Path) -> None:
    text = metadata(dist).get_payload()
    assert "# samcache" in text
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert links
    assert all(link.startswith("https://") for link in links)


def test_the_metadata_are_those_that_an_index_shows(dist: Path) -> None:
    found = metadata(dist)
    assert found["Keywords"]
    urls = {one.partition(", ")[2] for one in found.get_all("Project-URL", [])}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert urls
    assert all(f'"{url}"' in citation for url in urls), "a URL that nobody has checked"
    assert "Typing :: Typed" in found.get_all("Classifier", [])


def test_readme_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """Its commands in order, as they are printed but for smaller sizes and the tiny encoder."""
    where = run([python, "-c", "import samcache.cli as cli; print(cli.__file__)"], tmp_path)
    assert Path(where).is_relative_to(python.parents[1]), "the installed package, not the clone"
    assert "version" in run([python.with_name("samcache"), "--version"], tmp_path)
    save_tiny_checkpoint(tmp_path / "tiny.pth")
    write_npz(tmp_path / "images.npz", (24, 12, 12))
    write_npz(tmp_path / "new.npz", (4, 4, 4))
    readme = [shrunk(command.words[1:]) for command in commands(ROOT / "README.md")
              if not command.line.startswith(README_NOT_RUN)]  # fmt: skip
    assert {"extract", "train", "report", "predict"} <= {words[0] for words in readme}
    # doctor ends with 1 on a machine with little memory or disk
    expected = [(words, (0, 1) if words[0] == "doctor" else (0,)) for words in readme]
    helpers = {"PYTHONPATH": str(ROOT / "tests" / "helpers")}  # of the tiny encoder
    run([python, "-c", RUN, json.dumps(expected)], tmp_path, {**os.environ, **helpers})
    assert "samcache" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list((tmp_path / "maps").glob("*.png"))
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8").count("\n") > 1


def shrunk(words: list[str]) -> list[str]:
    """A command of README with its sources, encoder and sizes replaced."""
    names = {"images/": "images.npz", "new-images": "new.npz", "vit_b": "vit_tiny", "cuda": "cpu"}
    words = [names.get(word, word) for word in words]
    if words[0] == "extract" and "--check" not in words:
        return [*words, *TINY]
    if words[0] == "predict":
        return [*words, *TINY[:2]]
    return [*words, *QUICK] if words[0] == "train" else words
