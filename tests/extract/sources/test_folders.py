"""Folders of images: every file is taken, passed over with a word, or an error in one line."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image
from shown import summary_text, text_of
from tiny_extraction import Extract

from samcache.cache.errors import SourceError
from samcache.commands.show.extraction import describe_report
from samcache.extract.check import check_source
from samcache.extract.images.decode import FORMATS
from samcache.extract.sources.base import Source
from samcache.extract.sources.files.listing import IMAGE_SUFFIXES
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def open_it(path: Path) -> Source:
    return open_source(path, SourceOptions())


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), "red").save(path)
    return path


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may list this folder, not even root, who runs tests in containers."""
    listing = os.scandir

    def refused(path: Path) -> object:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refused)


def test_every_suffix_of_the_formats_that_are_read_is_taken(tmp_path: Path) -> None:
    Image.init()
    known = {end for end, name in Image.registered_extensions().items() if name in FORMATS}
    assert known <= IMAGE_SUFFIXES
    for number, suffix in enumerate(sorted(known)):
        grey = Image.new("F" if suffix == ".pfm" else "L", (16, 16), number)
        (tmp_path / "x").mkdir(exist_ok=True)
        grey.save(tmp_path / "x" / f"a{suffix.upper()}", Image.registered_extensions()[suffix])
    source = open_it(tmp_path)
    assert len(source.samples) == len(known)
    for row in range(len(known)):
        assert source.read_image(row).decode().size == (16, 16)


@pytest.mark.parametrize("closed", ["benign", "benign/deep"])
def test_a_folder_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    for name in ("malignant/x.png", "benign/x.png", "benign/deep/y.png"):
        picture(tmp_path / name)
    close(tmp_path / closed, monkeypatch)
    with pytest.raises(SourceError, match=rf"folder .*{closed} cannot be read \(Permission denied"):
        open_it(tmp_path)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    picture(tmp_path / "data/x/deep/a.png")
    picture(tmp_path / "data/y/b.png")
    picture(tmp_path / "elsewhere/c.png")
    links = {"x/far": "elsewhere", "x/again": "data/x/deep", "x/up": "data", "x/self": "data/x"}
    for name, target in links.items():
        (tmp_path / "data" / name).symlink_to(tmp_path / target)
    found = open_it(tmp_path / "data").samples["id"].tolist()
    assert found == ["x/deep/a.png", "x/far/c.png", "y/b.png"]


def test_files_that_are_passed_over_are_told(tmp_path: Path, run_extract: Extract) -> None:
    for name in ("train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"):
        picture(tmp_path / "data" / name)
    for name in ("loose.png", "train/loose.png"):
        picture(tmp_path / "data" / name)
    for name in ("train/a/notes.txt", "train/a/.DS_Store"):
        (tmp_path / "data" / name).write_text("")
    source = open_it(tmp_path / "data")
    assert source.passed_over == ("loose.png", "train/loose.png", "train/a/notes.txt")
    told = "3 files were passed over (first: loose.png)"
    assert told in text_of(describe_report(check_source(source.limit(3))))
    assert told in summary_text(run_extract(source=tmp_path / "data")[1])


def test_where_every_file_is_an_image_nothing_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a/0.png")
    text = text_of(describe_report(check_source(open_it(tmp_path))))
    assert "passed over" not in text


def test_a_class_without_images_says_what_it_holds(tmp_path: Path) -> None:
    picture(tmp_path / "a/0.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/0.nii").write_text("")
    with pytest.raises(SourceError, match="b holds no images among its 1 file: remove it or fill"):
        open_it(tmp_path)
