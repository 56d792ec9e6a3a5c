"""Files that are damaged, or are not what their names say, end in one line that says so."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from samcache.cache.errors import CheckpointError, SourceError
from samcache.cache.files import npz_arrays
from samcache.cli import cli
from samcache.extract.encoders.weights import read_checkpoint
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions

READING = SourceOptions()
IMAGES = np.zeros((2, 4, 4), np.uint8)
INSTEAD = {
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "Git LFS pointer"),
    "a page": (b"\n<!DOCTYPE html><html>", "is a web page"),
    "nothing": (b"", r"is empty \(0 bytes\)"),
}


@pytest.mark.parametrize("kind", INSTEAD)
def test_what_a_failed_download_left_is_told(kind: str, tmp_path: Path) -> None:
    data, reason = INSTEAD[kind]
    for name in ("a.npz", "a.pth"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=reason):
        open_source(tmp_path / "a.npz", READING)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / "a.pth")


def test_no_advice_to_load_a_checkpoint_without_safeguards(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"version 1 of something else")
    with pytest.raises(
        CheckpointError, match="is not a readable checkpoint: get the official file"
    ):
        read_checkpoint(tmp_path / "a.pth")
    torch.save({"x": Path("a")}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=r"more than weights, refused: pathlib\S*; get the off"
    ):
        read_checkpoint(tmp_path / "a.pth")


def test_a_checkpoint_without_names_is_refused(tmp_path: Path) -> None:
    torch.save({1: torch.ones(2)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="tensors by name, found int to Tensor"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_damaged_stream_in_an_npz_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", train_images=noise, train_labels=np.array([0, 1]))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[60:200] = b"\xff" * 140
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(SourceError, match=r"not a readable \.npz.*download it again"):
        open_source(tmp_path / "a.npz", READING)


def test_one_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(SourceError, match=r"not a readable \.npz"):
        open_source(tmp_path / "a.npz", READING)


def claiming(path: Path, shape: tuple[int, ...]) -> Path:
    """An .npz whose images have a header alone."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    np.savez(path, train_labels=np.array([0, 1]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    return path


def test_an_npz_that_claims_more_than_it_has_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"train_images claims 90000\.0 GB, more than the file can"
    ):
        open_source(claiming(tmp_path / "a.npz", (10**9, 300, 300)), READING)


def test_an_npz_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has all that it claims: zeros, packed a thousandfold."""
    labels, path = np.arange(40) % 2, tmp_path / "a.npz"
    zeros = np.zeros((40, 100, 100), np.uint8)
    np.savez_compressed(path, train_images=zeros, train_labels=labels, test_images=zeros)
    monkeypatch.setattr(npz_arrays, "free_memory", lambda: 700_000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(SourceError, match=r"800\.\d kB unpacked, and 700\.0 kB of memory are"):
        open_source(path, READING)
    monkeypatch.undo()
    np.savez_compressed(path, train_images=zeros, train_labels=labels)
    assert len(open_source(path, READING).samples) == 40


def test_arrays_of_an_npz_that_are_not_used_are_not_read(tmp_path: Path) -> None:
    labels = np.array([0, 1])
    np.savez(tmp_path / "a.npz", train_images=IMAGES, train_labels=labels, extra=np.array([{}]))
    assert len(open_source(tmp_path / "a.npz", READING).samples) == 2


def test_a_label_of_minus_one_without_a_sign_is_told_at_once(tmp_path: Path) -> None:
    labels = np.array([0, 2**32 - 1], np.uint32)
    np.savez(tmp_path / "a.npz", train_images=IMAGES, train_labels=labels)
    with pytest.raises(SourceError, match="class 1 has no images"):
        open_source(tmp_path / "a.npz", READING)


@pytest.mark.parametrize("shape", [(2, 0, 0), (2, 0, 8), (2, 8, 0, 3)])
def test_images_without_pixels_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images, labels = np.zeros(shape, np.uint8), np.array([0, 1])
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = images, labels
    for name in ("a.npz", "a.h5"):
        with pytest.raises(SourceError, match="images should be uint8"):
            open_source(tmp_path / name, READING)


def test_labels_in_a_null_space_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = IMAGES, h5py.Empty("i8")
    with pytest.raises(SourceError, match="labels should be 2 values"):
        open_source(tmp_path / "a.h5", READING)


@pytest.mark.parametrize("name", ["²", "①", "--1", "9" * 5_000, "٣"])
def test_a_class_that_only_looks_like_a_number_is_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.csv").write_text(f"file,class\na.png,10\nb.png,{name}\n", "utf-8")
    source = open_source(tmp_path / "labels.csv", READING)
    assert source.classes == tuple(sorted(["10", name]))


def test_a_seed_below_zero_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["extract", str(tmp_path), "--check", "--split-seed", "-1"])
    assert result.exit_code == 2
    assert "'--split-seed': -1 is not in the range x>=0" in result.stderr


def test_a_source_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "images\udcff"
    (folder / "a").mkdir(parents=True)
    Image.new("L", (4, 4)).save(folder / "a/0.png")
    with pytest.raises(SourceError, match="is not a file name in UTF-8: rename the file"):
        open_source(folder, READING)
