"""Mistakes that people make, and what each command says: one line, and what to do."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from image_files import draw
from no_access import lock
from trained_run import Trained, trained  # noqa: F401 - a fixture

from samcache.cli import cli

# command -> exit status, the essential part of its error. STORE and RUN are good ones.
TABLE: dict[str, tuple[int, str]] = {
    # commands and options that do not exist
    "info STORE": (2, "no command 'info': did you mean samcache cache info?"),
    "verify STORE": (2, "no command 'verify': did you mean samcache cache verify?"),
    "ls .": (2, "no command 'ls': did you mean samcache cache ls?"),
    "encode images": (2, "no command 'encode': did you mean samcache extract?"),
    "trian STORE --out r": (2, "no command 'trian': did you mean samcache train?"),
    "cache inof STORE": (2, "no command 'inof': did you mean samcache cache info?"),
    "cache frobnicate": (2, "no command 'frobnicate': samcache cache --help lists them"),
    "train STORE --out r --model resnet50": (2, "no option --model: did you mean --backbone?"),
    "extract images --model vit_b": (2, "no option --model: did you mean --encoder?"),
    "train STORE --out r --learning-rate 1": (2, "no option --learning-rate: did you mean --lr?"),
    "train STORE --out r --epoch 3": (2, "no option --epoch: did you mean --epochs?"),
    "train STORE --output r": (2, "no option --output: did you mean --out?"),
    "extract images --output s.zarr": (2, "no option --output: did you mean --store?"),
    "compare RUN --xyz": (2, "no option --xyz: --help lists the options"),
    # values
    "train STORE --out r --lr 1e-3x": (2, "'1e-3x' should be a number, such as 0.001 or 1e-3"),
    "train STORE --out r --epochs many": (2, "'many' should be a whole number, such as 1"),
    "train STORE --out r --seeds 0,one": (2, "should be whole numbers, such as 0,1,2"),
    "extract images --window wide": (2, "'wide' should be two numbers such as 40,400"),
    "extract images --store s --encoder vitb": (2, "unknown encoder 'vitb': do you mean vit_b?"),
    "extract images --store s --encoder lab:Tiny": (1, "the module is installed or in the current"),
    "encoders vit_b --image-size 100": (1, "expected a multiple of 16, such as 1024"),
    "train STORE --out r --backbone resnet5": (1, "did you mean resnet50"),
    "extract images --store s --encoder mobile_sam": (2, "is a model: its encoder is vit_t"),
    "extract images --store s --encoder MobileSAM": (2, "is a model: its encoder is vit_t"),
    "train STORE --out r --device gpu": (2, "'gpu' should be auto, cpu, cuda, mps, or a GPU such"),
    "train STORE --out r --device cuda": (2, "torch finds no cuda here: use auto or cpu"),
    "predict RUN flat --device cuda:7": (2, "torch finds no cuda here: use auto or cpu"),
    "completion tcsh": (2, "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    # what is missing
    "extract images --encoder vit_b": (2, "--store is missing: only --check works without"),
    "extract images --plan --store s": (2, "--encoder is missing: only --check works without"),
    "train STORE": (2, "Missing option '--out'"),
    "cache info no.zarr": (1, "no store at no.zarr: run samcache extract first"),
    "extract no/images --check": (1, "no such file or folder: no/images: the nearest folder that"),
    "predict RUN no.png": (1, "no such file or folder: no.png"),
    "extract EMPTY --check": (2, "an argument is empty: is a shell variable not set?"),
    "extract images --encoder vit_t --store EMPTY": (2, "an argument is empty"),
    "train STORE --out=": (2, "--out is empty: is a shell variable not set?"),
    "extract breastmnist --check": (1, "for a MedMNIST data set give medmnist:NAME, such as"),
    "extract images --store s --encoder vit_t --checkpoint flat": (
        1,
        "no checkpoint at flat: found a folder: give the file in it, or omit the checkpoint to",
    ),
    "extract images --store s --encoder vit_t --checkpoint by_path.csv": (
        1,
        "by_path.csv is not a readable checkpoint: get the official file, or omit the checkpoint",
    ),
    "probe named": (1, "no store at named: did you mean named.zarr?"),
    # one kind of thing in another's place
    "extract STORE --check": (1, "is a store, whose images are encoded already"),
    "extract RUN --check": (1, "is a run folder: give a source of images"),
    "extract images.zip --check": (1, "is an archive, which samcache does not read: unpack it"),
    "train images --out r": (1, "a folder without a store is there: run samcache extract first"),
    "train RUN --out r": (1, "a run folder is there: give the store that it was trained on"),
    "train by_path.csv --out r": (1, "a file is there: give a store"),
    "probe RUN": (1, "a run folder is there: give the store that it was trained on"),
    "cache verify images": (1, "a folder without a store is there"),
    "compare STORE": (1, "it is a store: give a folder that samcache train wrote"),
    "report images": (1, "holds no finished run: it has no results.json; give a folder that"),
    "export STORE": (1, "it is a store: give a folder that samcache train wrote"),
    "predict STORE images": (1, "it is a store: give a folder that samcache train wrote"),
    "predict RUN RUN": (1, "is a run folder: give a source of images"),
    "evaluate RUN images": (1, "a folder without a store is there"),
    # layouts of sources
    "extract by_path.csv --check": (1, "rename the column 'image_path' to 'file'"),
    "predict RUN by_path.csv": (1, "rename the column 'image_path' to 'file'"),
    "extract by_target.csv --check": (
        1,
        "it is probably 'diagnosis', or read no labels (--label-column or --no-labels)",
    ),
    "extract named.csv --root no --check": (
        1,
        "is not a folder: give the right one; the nearest folder that exists",
    ),
}


@pytest.fixture(scope="module")
def folder(
    trained: Trained,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Where the mistakes are made: images in class folders and flat, and manifests of them."""
    folder = tmp_path_factory.mktemp("mistakes")
    shutil.copytree(trained.images, folder / "images")
    (folder / "flat").mkdir()
    draw(folder / "flat" / "a.png", 0)
    (folder / "named.zarr").symlink_to(trained.store)
    (folder / "images.zip").write_bytes(b"PK\x03\x04")
    (folder / "by_path.csv").write_text("image_path,label\nflat/a.png,x\n")
    (folder / "by_target.csv").write_text("file,diagnosis\nflat/a.png,x\n")
    (folder / "named.csv").write_text("file,label\na.png,x\n")
    return folder


@pytest.mark.parametrize("command", TABLE)
def test_a_mistake_ends_in_one_line_that_helps(
    command: str,
    folder: Path,
    trained: Trained,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    places = {"STORE": str(trained.store), "RUN": str(trained.run), "EMPTY": ""}
    words = [places.get(word, word) for word in command.split()]
    result = CliRunner().invoke(cli, words, prog_name="samcache")
    status, message = TABLE[command]
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.stderr.strip().endswith(errors[-1]), "nothing after the error's one line"
    assert len(errors) == 1
    assert message in errors[0]


def test_every_command_is_in_the_table() -> None:
    """A newcomer errs everywhere; doctor takes whatever it is given."""
    assert {command.split()[0] for command in TABLE} >= set(cli.commands) - {"doctor", "sweep"}


def test_a_wrong_root_is_named_with_one_that_fits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images themselves are unreadable, which is status 3; the remark says why."""
    monkeypatch.chdir(folder)
    said = CliRunner().invoke(cli, ["extract", "named.csv", "--check"]).stderr
    assert f"no file at {folder / 'a.png'}" in " ".join(said.split())
    assert f"the folder {folder / 'flat'} has such a file (--root)" in " ".join(said.split())


def test_a_wrong_root_beside_a_locked_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be entered does not stop the search, nor the command."""
    (folder / "aaa").mkdir()
    monkeypatch.chdir(folder)
    lock(monkeypatch, folder / "aaa")
    result = CliRunner().invoke(cli, ["extract", "named.csv", "--check"])
    assert result.exit_code == 3, result.output
    assert f"the folder {folder / 'flat'} has such a file (--root)" in " ".join(
        result.stderr.split()
    )


def test_images_beside_another_programs_config_are_no_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in ("config.json", "results.json"):
        (folder / "images" / name).write_text('{"model": "mine"}')
    assert CliRunner().invoke(cli, ["extract", "images", "--check"]).exit_code == 0


def test_weights_that_cannot_be_downloaded_are_told_how_to_get(
    trained: Trained,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    words = ["train", str(trained.store), "--out", str(tmp_path / "r"), "--pretrained", "download"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1, result.output
    assert "cannot be downloaded (no route to host)" in result.stderr
    assert "give the file (--pretrained)" in result.stderr
