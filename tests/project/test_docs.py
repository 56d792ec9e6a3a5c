"""The documentation holds: its commands run, its options exist, its links lead somewhere."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from documented_commands import ROOT, Command, commands, pages
from PIL import Image
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import write_npz
from torchvision.models import resnet18

from samcache.cache.files.digest import hash_file
from samcache.cli import cli
from samcache.commands.options import Device
from samcache.extract.encoders.networks import sam2, tiny_vit, vit
from samcache.extract.encoders.registry import find_architecture

# What begins so is not run here, and why. Nothing else is left out.
NOT_RUN = {
    "make ": "sets up an environment and runs for minutes; make test runs this file",
    "pip install": "changes the environment",
    "torchrun ": "needs GPUs; tests/extract/test_workers.py runs torchrun",
    "srun ": "needs Slurm",
    "export AWS_": "the test's own server and keys stand in their place",
    "samcache sweep": "is sixty trainings; tests/train/test_sweep.py sweeps",
    "samcache extract images/ --store dinov2.zarr": "downloads; test_timm_model.py loads files",
    "samcache completion bash >>": "writes into the reader's home; test_terminal.py runs it",
}
EXPERIMENT = ROOT / "benchmarks" / "experiment.md"  # generated, but its text names options
# What a page may use without making it itself: stores, and runs trained from them.
STORES, RUNS = ("team.zarr", "breast.zarr"), ("runs/slca", "runs/none", "runs/shuffled")
STATUS = {"doctor": (0, 1)}  # it ends with 1 on machines with little memory or disk
# Options that a command does not name: one epoch of one seed, a tiny network, small images.
TINY_NETWORK = {"backbone": "timm:test_resnet", "image_size": 32, "batch_size": 8}
SMALL = {"train": {"epochs": 1, "seeds": "0", **TINY_NETWORK}}
OTHER_PROGRAMS = {"--nproc-per-node", "--standalone", "--nnodes", "--rdzv-backend"}
OTHER_PROGRAMS |= {"--rdzv-endpoint", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task"}
OTHER_PROGRAMS |= {"--requeue", "--open-mode", "--array", "--gpus", "--nodes", "--help"}

Run = Callable[[Command], None]


def leaf_commands(group: click.Group = cli) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from leaf_commands(command)
        else:
            yield command


def everything() -> list[Command]:
    return [command for page in pages() for command in commands(page)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documentation names it: ``images/`` with two classes, and other sources."""
    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(3)
    lines, facts = ["file,class"], ["image_id,sex,age"]
    for number in range(24):
        name = f"{'ab'[number % 2]}/{number:02}.png"
        pixels = rng.integers(0, 120, (20, 20), dtype=np.uint8) + np.uint8(90 * (number % 2))
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / name)
        lines.append(f"{name},{'ab'[number % 2]}")
        facts.append(f"{number:02},{'fm'[number // 2 % 2]},{30 + number}")
    shutil.copytree(folder / "images" / "a", folder / "new-images")
    (folder / "labels.csv").write_text("\n".join(lines))
    (folder / "metadata.csv").write_text("\n".join(facts))
    write_npz(folder / "breastmnist.npz", (12, 6, 6))
    save_tiny_checkpoint(folder / "medsam_vit_b.pth")
    own = (ROOT / "docs" / "other-encoders.md").read_text("utf-8")
    (folder / "lab.py").write_text(own.partition("```python\n")[2].partition("```")[0], "utf-8")
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")
    return folder


@pytest.fixture
def tiny_encoders(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every encoder is the tiny one, with random weights in place of the downloaded files."""
    weights = images / "medsam_vit_b.pth"
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    tiny = find_architecture("vit_tiny")
    for architectures in (vit.ARCHITECTURES, tiny_vit.ARCHITECTURES, sam2.ARCHITECTURES):
        for name, real in architectures.items():
            assert real.official is not None
            official = replace(real.official, sha256=hash_file(weights))
            monkeypatch.setitem(architectures, name, replace(tiny, official=official))
            shutil.copy(weights, hub / official.file)
    monkeypatch.setattr(Device, "convert", lambda *_: "cpu")


@pytest.fixture
def run(
    images: Path,
    tiny_encoders: None,  # noqa: ARG001
    s3: str,
    web: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a command in a copy of the reader's folder, which becomes the working directory."""
    folder = shutil.copytree(images, tmp_path / "reader")
    monkeypatch.chdir(folder)
    places = {"s3://team": s3, "http://lab.example:8080": f"{web}/{folder.name}"}

    def run_one(command: Command) -> None:
        words = command.words
        if words[0] == "export":
            for assignment in words[1:]:
                monkeypatch.setenv(*assignment.split("=", 1))
            return
        for shown, there in places.items():
            words = [word.replace(shown, there) for word in words]
        result = CliRunner().invoke(cli, words[1:], default_map=SMALL)
        message = f"{command.page}: {command.line}\n{result.output}\n{result.exception!r}"
        assert result.exit_code in STATUS.get(words[1], (0,)), message

    return run_one


def to_run(page: Path) -> list[Command]:
    return [c for c in commands(page) if not any(c.line.startswith(begin) for begin in NOT_RUN)]


def is_expected(name: str, listed: list[Command]) -> bool:
    """Whether the first command that names a store or run takes it for granted."""
    words = next((c.words for c in listed if name in c.words), ["--out", name])
    return words[words.index(name) - 1] not in ("--store", "--out")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that keeps the store and the runs that pages take for granted."""
    return tmp_path_factory.mktemp("made")


def prepare(names: set[str], run: Run, made: Path) -> None:
    """Copy stores and runs into the working directory; the first page that needs one makes it."""
    if names:
        extract = "samcache extract images/ --store before.zarr --encoder vit_b"
        make_or_copy("before.zarr", extract, run, made)
    for name in sorted(names):
        if name in STORES:
            shutil.copytree("before.zarr", name)
        else:
            attention = name.removeprefix("runs/")
            train = f"samcache train before.zarr --out {name} --attention {attention}"
            make_or_copy(name, train, run, made)


def make_or_copy(name: str, line: str, run: Run, made: Path) -> None:
    if (made / name).exists():
        shutil.copytree(made / name, name)
    else:
        run(Command("before", line))
        shutil.copytree(name, made / name)


@pytest.mark.usefixtures("not_exported")
@pytest.mark.parametrize("page", [*filter(to_run, pages())], ids=lambda page: page.name)
def test_a_reader_can_paste_the_commands_of_a_page(page: Path, run: Run, made: Path) -> None:
    listed = to_run(page)
    prepare({name for name in (*STORES, *RUNS) if is_expected(name, listed)}, run, made)
    for command in listed:
        assert command.is_samcache or command.words[0] == "export", command
        run(command)


def test_every_samcache_command_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are not run: their options exist, and their values could be."""
    monkeypatch.setattr(click.Path, "convert", lambda _, value, *__: value)  # no file is needed
    monkeypatch.setattr(Device, "convert", lambda *_: "cpu")
    for command in everything():
        words = command.words
        if "samcache" in words or "cli.py" in words:
            start = words.index("samcache" if "samcache" in words else "cli.py") + 1
            stop = words.index(">>") if ">>" in words else len(words)
            parsed(cli, words[start:stop], command)


def parsed(group: click.Group, words: list[str], command: Command) -> None:
    name, below, rest = group.resolve_command(click.Context(group), words)
    assert below is not None, command
    if isinstance(below, click.Group):
        parsed(below, rest, command)
        return
    try:
        below.make_context(name, list(rest))
    except click.UsageError as error:
        pytest.fail(f"{command.page}: {command.line}: {error.format_message()}")


def test_every_option_that_is_mentioned_exists() -> None:
    there = {name for command in leaf_commands() for p in command.params for name in p.opts}
    there |= {name for c in leaf_commands() for p in c.params for name in p.secondary_opts}
    for page in [*pages(), EXPERIMENT]:
        text = page.read_text(encoding="utf-8")
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
        assert not mentioned - there - OTHER_PROGRAMS, page


def test_what_is_not_run_is_there() -> None:
    lines = [command.line for command in everything()]
    for begin in NOT_RUN:
        assert any(line.startswith(begin) for line in lines), f"{begin!r} is in no page: remove it"


def test_errors_that_are_explained_are_those_of_the_code() -> None:
    texts = list(literals())
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([^`]*)` \|", page, re.MULTILINE)
    assert len(explained) > 30
    for error in explained:
        for part in filter(None, (part.strip() for part in error.split("…"))):
            assert any(part in text for text in texts), f"{part!r} stands in no text of the code"


def literals() -> Iterator[str]:
    """Every text of the code, f-strings in their parts."""
    for folder in ("api", "cache", "commands", "extract", "train"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_between_files_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed: no site here")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    fetched = re.findall(r'(?:src|<link[^>]+href)="(https?://[^"]+)"', home)
    assert not fetched, "the site should fetch nothing from elsewhere"
    predicting = (tmp_path / "site" / "predict" / "index.html").read_text(encoding="utf-8")
    for script in ("run_exported", "run_exported_image"):
        words = (ROOT / "demo" / f"{script}.py").read_text(encoding="utf-8").splitlines()[0]
        assert words in unescape(predicting), f"the page shows {script}.py"
    reference = (tmp_path / "site" / "cli" / "index.html").read_text(encoding="utf-8")
    for command_ in leaf_commands():
        assert f" {command_.name}</h" in re.sub(r"<a [^>]*>.*?</a>", "", reference)
