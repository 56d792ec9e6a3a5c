"""What stands under an image's name and is no file of the source: told, and never waited for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_extraction import Extract

from samcache.cache.errors import ImageError
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), "red").save(path)
    return path


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def link_out(path: Path) -> None:
    path.symlink_to(picture(path.parents[2] / "elsewhere" / "secret.png"))


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone.png"))


def larger_than_memory(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (fifo, "is no regular file"),
    "folder": (folder, "Is a directory"),
    "link out of the root": (link_out, "a link out of the image folder: follow such"),
    "device": (device, "a link out of the image folder"),
    "link to itself": (link_to_itself, "symbolic links"),
    "link to nothing": (link_to_nothing, "a link to a file that is not there"),
    "a file of 4 TB": (larger_than_memory, r"is too large: 4398\.0 GB"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_manifest_names_what_is_no_file(kind: str, tmp_path: Path) -> None:
    make, reason = ODD[kind]
    picture(tmp_path / "data/images/a.png")
    make(tmp_path / "data/images/odd.png")
    manifest = tmp_path / "data/labels.csv"
    manifest.write_text("file,class\nimages/a.png,x\nimages/odd.png,y\n")
    source = open_source(manifest, SourceOptions())
    assert source.read_image(0).decode().size == (6, 4)
    with pytest.raises(ImageError, match=reason):
        source.read_image(1)


def test_links_within_the_root_are_followed(tmp_path: Path) -> None:
    picture(tmp_path / "data/all/a.png")
    (tmp_path / "data/x").mkdir()
    (tmp_path / "data/x/a.png").symlink_to("../all/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    source = open_source(tmp_path / "link", SourceOptions())
    names = source.samples["id"].tolist()
    assert source.read_image(names.index("x/a.png")).decode().size == (6, 4)


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5_000 + ".png"])
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"file,class\n{name},x\n")
    with pytest.raises(ImageError, match="cannot be read"):
        open_source(tmp_path / "labels.csv", SourceOptions()).read_image(0)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "x/a.png").chmod(0)
    source = open_source(tmp_path, SourceOptions())
    user = os.geteuid()
    if user == 0:  # who may read anything
        os.seteuid(65534)
    try:
        with pytest.raises(ImageError, match="cannot be read: Permission denied"):
            source.read_image(0)
    finally:
        os.seteuid(user)


def test_a_folder_of_them_is_recorded_and_the_run_goes_on(
    run_extract: Extract, tmp_path: Path
) -> None:
    classes = tmp_path / "data/x", tmp_path / "data/y"
    for where in classes:
        picture(where / "a.png")
    for number, (make, _) in enumerate(ODD.values()):
        make(classes[0] / f"odd{number}.png")
    store, summary = run_extract(source=tmp_path / "data")
    kept = [n for n, name in enumerate(ODD) if name != "folder"]
    assert list(summary.unreadable) == [f"x/odd{number}.png" for number in kept]
    assert (store.samples["status"] == "ok").sum() == 2
