"""The kind of a source follows from its images, and links out of it from the user's word."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cines import FRAMES, write_cine
from image_files import draw
from pcam import pcam

from samcache.cache.errors import ImageError, SourceError
from samcache.extract.sources.base import Source
from samcache.extract.sources.inputs import open_inputs
from samcache.extract.sources.open import find_source_kind, open_source
from samcache.extract.sources.options import SourceOptions

READING, FOLLOWING = SourceOptions(), SourceOptions(follow_links=True)


def to_predict(path: Path, reading: SourceOptions) -> Source:
    [given] = open_inputs([str(path)], reading, hash_ids=False)
    return given.source


EITHER = pytest.mark.parametrize("opened", [open_source, to_predict], ids=["extract", "predict"])
Opened = Callable[[Path, SourceOptions], Source]


@EITHER
@pytest.mark.parametrize("stray", ["features.h5", "a_train_x.h5", "x.HDF5"])
def test_hdf5_beside_class_folders_is_passed_over(
    opened: Opened, stray: str, tmp_path: Path
) -> None:
    for name in ("a/1.png", "b/2.png"):
        draw(tmp_path / name, 0)
    (tmp_path / stray).write_bytes(b"")
    source = opened(tmp_path, READING)
    assert source.samples["id"].tolist() == ["a/1.png", "b/2.png"]
    assert source.passed_over == (stray,)


def test_hdf5_beside_loose_images_is_passed_over(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 0)
    (tmp_path / "features.h5").write_bytes(b"")
    assert to_predict(tmp_path, READING).samples["id"].tolist() == ["1.png"]


def test_pairs_of_hdf5_files_are_a_source_beside_a_picture_of_them(tmp_path: Path) -> None:
    pcam(tmp_path)
    draw(tmp_path / "overview.png", 0)
    assert find_source_kind(tmp_path) == "hdf5"
    draw(tmp_path / "a" / "1.png", 0)
    assert find_source_kind(tmp_path) == "folder"


def test_hdf5_files_alone_are_still_told_of(tmp_path: Path) -> None:
    (tmp_path / "features.h5").write_bytes(b"")
    with pytest.raises(SourceError, match="give one HDF5 file"):
        open_source(tmp_path, READING)


@pytest.mark.parametrize(
    "splits",
    [("train_set", "test_set"), ("Training-Images", "ValidationData"), ("trainset", "01_eval")],
)
def test_class_folders_that_look_like_splits_are_remarked_on(
    splits: tuple[str, ...], tmp_path: Path
) -> None:
    for split in splits:
        for name in ("benign", "malign"):
            draw(tmp_path / split / name / "1.png", 0)
    source = open_source(tmp_path, READING)
    assert source.classes == tuple(sorted(splits))
    [remark] = source.remarks
    assert f"{', '.join(sorted(splits))} are read as classes" in remark.text
    assert (
        "benign, malign: to use them as splits, rename them to train, val and test" in remark.text
    )


@pytest.mark.parametrize("classes", [("contest", "latest"), ("train_set", "bus"), ("tram", "evil")])
def test_other_class_folders_are_not(classes: tuple[str, ...], tmp_path: Path) -> None:
    for split in classes:
        for name in ("left", "right"):
            draw(tmp_path / split / name / "1.png", 0)
    assert open_source(tmp_path, READING).remarks == ()


def links_out(folder: Path) -> dict[str, Path]:
    """Sources whose images are links out of them, as DVC, git-annex and hub caches make them."""
    for name in "ab":
        draw(folder / f"blobs/{name}.png", ord(name))
        link = folder / f"files/{name}/1.png"
        link.parent.mkdir(parents=True)
        link.symlink_to(f"../../blobs/{name}.png")
    (folder / "folders").mkdir()
    for name in "ab":
        (folder / f"folders/{name}").symlink_to(f"../files/{name}")
    manifest = folder / "files/labels.csv"
    manifest.write_text("file,class\na/1.png,a\nb/1.png,b\n")
    return {"files": folder / "files", "folders": folder / "folders", "manifest": manifest}


@EITHER
@pytest.mark.parametrize("kind", ["files", "folders", "manifest"])
def test_links_out_are_followed_where_the_user_says_so(
    opened: Opened, kind: str, tmp_path: Path
) -> None:
    path = links_out(tmp_path)[kind]
    refused, followed = opened(path, READING), opened(path, FOLLOWING)
    assert refused.samples.equals(followed.samples)
    for row in range(2):
        with pytest.raises(ImageError, match="a link out of the image folder: follow such"):
            refused.read_image(row)
        assert followed.read_image(row).decode().size == (30, 20)
        assert followed.take([row]).read_image(0).sha256 == followed.read_image(row).sha256


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/dev/zero", "is no regular file"),
        ("../../fifo", "is no regular file"),
        ("../../blobs", "Is a directory"),
        ("../../blobs/gone", r"a link to a file that is not there: fetch it \(dvc pull, git annex"),
    ],
)
def test_links_are_followed_to_regular_files_alone(
    target: str, reason: str, tmp_path: Path
) -> None:
    path = links_out(tmp_path)["manifest"]
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "files/a/1.png").unlink()
    (tmp_path / "files/a/1.png").symlink_to(target)
    with pytest.raises(ImageError, match=reason):
        open_source(path, FOLLOWING).read_image(0)


def test_headers_are_not_read_through_links_out(tmp_path: Path) -> None:
    write_cine(tmp_path / "elsewhere/x.dcm", 0, bright=True)
    for name in "ab":
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / "x.dcm").symlink_to("../../elsewhere/x.dcm")
    reading = SourceOptions(frames="all")
    refused = open_source(tmp_path / "scans", reading).samples
    assert refused["id"].tolist() == ["a/x.dcm", "b/x.dcm"]
    assert set(refused["group"]) == {""}
    followed = open_source(tmp_path / "scans", replace(reading, follow_links=True)).samples
    assert len(followed) == 2 * FRAMES
    assert followed["group"].nunique() == 1
