"""Each kind of source gives its samples, and says in one line what is wrong with it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samcache.cache.errors import ImageError, SourceError
from samcache.extract.sources.base import Source
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.extract.sources.splits import draw_splits


def open_it(path: Path, **reading: object) -> Source:
    return open_source(path, SourceOptions(**reading))  # type: ignore[arg-type]


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path)
    return path


def test_npz_gives_ids_labels_and_rgb_pixels(npz: Path) -> None:
    source = open_it(npz)
    assert source.name == "toy"
    assert source.classes == ("0", "1")
    assert source.samples["split"].value_counts().to_dict() == {"train": 24, "val": 8, "test": 8}
    assert source.samples["id"].iloc[24] == "val/000000"
    with np.load(npz) as file:
        np.testing.assert_array_equal(
            np.asarray(source.read_image(24).decode())[:, :, 1], file["val_images"][0]
        )


def test_equal_pixels_have_equal_hashes(tmp_path: Path) -> None:
    images = np.zeros((3, 4, 4), np.uint8)
    images[2] = 1
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.array([0, 1, 1]))
    source = open_it(tmp_path / "a.npz")
    first, second, third = (source.read_image(row).sha256 for row in range(3))
    assert first == second != third


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "should hold MedMNIST's arrays"),
        (
            {
                "train_images": np.zeros((2, 4, 4), np.uint8),
                "test_labels": np.zeros(2, int),
            },
            "no train_labels",
        ),
        (
            {"train_images": np.zeros((2, 4, 4)), "train_labels": np.array([0, 1])},
            "should be uint8",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros((3, 14), int)},
            "should be 2 integers",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.array([0, 2])},
            "class 1 has no images",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.array([0])},
            "should be 2 integers",
        ),
        (
            {"train_images": np.zeros((0, 4, 4), np.uint8), "train_labels": np.zeros(0, int)},
            "is empty",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.array([{}, 1])},
            "pickled objects",
        ),
    ],
)
def test_wrong_npz_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        open_it(tmp_path / "a.npz")


@pytest.mark.parametrize("cut", [0, 1, 100, -10])
def test_corrupt_npz_is_refused(npz: Path, cut: int) -> None:
    npz.write_bytes(npz.read_bytes()[:cut])
    with pytest.raises(SourceError, match=r"toy\.npz"):
        open_it(npz)


def test_bytes_flipped_inside_an_npz_are_found(npz: Path) -> None:
    data = bytearray(npz.read_bytes())
    data[1000] ^= 255
    npz.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"toy\.npz"):
        open_it(npz)


def manifest(tmp_path: Path, text: str) -> Path:
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / "images" / f"{name}.png")
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_manifest_in_the_isic_layout(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "file,split,class\nimages/a.png,train,nevus\nimages/b.png,validation,mole\n"
        "images/c.png,Test,nevus\n",
    )
    source = open_it(path)
    assert source.classes == ("mole", "nevus")
    assert source.samples["label"].tolist() == [1, 0, 1]
    assert source.samples["split"].tolist() == ["train", "val", "test"]
    assert source.samples["id"].tolist() == ["images/a.png", "images/b.png", "images/c.png"]
    assert np.asarray(source.read_image(0).decode())[0, 0].tolist() == [255, 0, 0]


def test_manifest_with_own_root_label_and_group(tmp_path: Path) -> None:
    path = manifest(tmp_path, "file,grade,patient\na.png,10,p1\nb.png,9,p1\nc.png,10,p2\n")
    source = open_it(path, root=tmp_path / "images", label="grade", group="patient")
    assert source.classes == ("9", "10"), "integers sort by value"
    assert source.samples["group"].tolist() == ["p1", "p1", "p2"]
    assert source.split_origin.startswith("drawn")
    assert source.samples["split"].iloc[0] == source.samples["split"].iloc[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\na,b\n", "should have a column 'file'"),
        ("file,diagnosis\na,b\n", "name the label column: it is probably 'diagnosis'"),
        ("file,class,split\na.png,x,trian\n", "line 2: split should be train, val or test"),
        ("file,class\n../a.png,x\n", "line 2.*below the root"),
        ("file,class\n/etc/a.png,x\n", "line 2.*below the root"),
        ("file,class\nC:\\\\a.png,x\n", "line 2.*below the root"),
        ("file,class\na.png,x\nb.png,\n", "line 3: column 'class' is empty"),
        ("file,class\na.png,x\na.png,y\n", "listed twice"),
        ("\nfile,class\n\n  \na.png,x\n\nb.png,\n", "line 7: column 'class' is empty"),
        ('file,class,note\na.png,x,"two\nlines"\nb.png,,\n', "line 4: column 'class' is empty"),
        ("file,class\na.png,x,\n", "line 2 has more fields than the header"),
        ("file,class\na.png,x,train\nb.png,y,test\n", "line 2 has more fields than the header"),
        ("file,class\na.png,x\nb.png\n", "line 3: column 'class' is empty"),
        ('file,class\n"a.png,x\nb.png,y\n', "not a readable CSV"),
        ("file,class,class\na.png,x,y\n", "several columns 'class': keep one"),
        ("file,class\n", "no images"),
        ("", "not a readable CSV"),
    ],
)
def test_wrong_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_it(manifest(tmp_path, text))


def test_spaces_make_no_other_patient(tmp_path: Path) -> None:
    path = manifest(tmp_path, "file,class,split,patient\na.png,x,train,p1\nb.png,y,test,p1 \n")
    assert open_it(path, group="patient").samples["group"].tolist() == ["p1", "p1"]


def test_a_listed_file_that_is_missing_is_one_bad_image(tmp_path: Path) -> None:
    source = open_it(manifest(tmp_path, "file,class\nimages/a.png,x\nimages/z.png,y\n"))
    with pytest.raises(ImageError, match="No such file"):
        source.read_image(1)


def test_folder_of_classes_gets_a_drawn_split(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png")
    source = open_it(tmp_path)
    table = source.samples.groupby(["label", "split"]).size().unstack()
    assert table["train"].tolist() == [7, 7]
    assert table["val"].tolist() == [1, 1]
    assert table["test"].tolist() == [2, 2]


def test_folder_with_splits_above_the_classes(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("benign", "malignant"):
            picture(tmp_path / split / name / "x.png")
    source = open_it(tmp_path)
    assert source.split_origin == "source"
    assert set(zip(source.samples["split"], source.samples["id"], strict=True)) >= {
        ("val", "valid/benign/x.png")
    }


def test_a_folder_beside_split_folders_is_refused(tmp_path: Path) -> None:
    for name in ("train/benign", "train/malignant", "test/benign", "test/malignant", "masks"):
        picture(tmp_path / name / "x.png")
    with pytest.raises(
        SourceError, match="masks should not be next to the split folders test, train: move"
    ):
        open_it(tmp_path)


def test_classes_may_have_the_names_of_splits(tmp_path: Path) -> None:
    for name in ("test", "control"):
        picture(tmp_path / name / "x.png")
    assert open_it(tmp_path).classes == ("control", "test")


def test_empty_class_and_split_folders_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "one/benign/x.png")
    (tmp_path / "one/malignant").mkdir()
    with pytest.raises(SourceError, match=r"class folder .*malignant holds no images"):
        open_it(tmp_path / "one")
    picture(tmp_path / "two/train/benign/x.png")
    (tmp_path / "two/test").mkdir()
    with pytest.raises(SourceError, match=r"test should hold one folder per class"):
        open_it(tmp_path / "two")


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    for name in (b"a/0.png", b"b/0.png", b"b/\xff.png"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, "PNG")
    with pytest.raises(SourceError, match="not a file name in UTF-8: rename the file"):
        open_source(tmp_path, SourceOptions())


def test_other_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_it(tmp_path / "nowhere.npz")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SourceError, match=r"expected a \.npz"):
        open_it(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="empty holds no images"):
        open_it(tmp_path / "empty")


def test_limit_spreads_over_splits_and_classes(npz: Path) -> None:
    limited = open_it(npz).limit(10)
    assert len(limited.samples) == 10
    assert limited.samples.groupby(["split", "label"]).size().min() >= 1
    full = open_it(npz)
    row = full.samples.index[full.samples["id"] == limited.samples["id"].iloc[7]][0]
    np.testing.assert_array_equal(
        np.asarray(limited.read_image(7).decode()), np.asarray(full.read_image(row).decode())
    )


@pytest.mark.parametrize("count", [1, 5, 6, 7, 20])
def test_limit_keeps_a_rare_class_in_every_split(tmp_path: Path, count: int) -> None:
    lines = [f"{split}/{n}.png,{split},common" for split in ("train", "val") for n in range(10)]
    lines += ["r1.png,train,rare", "r2.png,val,rare"]
    (tmp_path / "labels.csv").write_text("file,split,class\n" + "\n".join(lines))
    limited = open_it(tmp_path / "labels.csv").limit(count)
    assert len(limited.samples) == count
    assert limited.samples.groupby(["split", "label"]).ngroups == min(count, 4)


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    groups=st.lists(st.sampled_from(["", "p", "q", "r", "s", "t"]), min_size=60, max_size=60),
    seed=st.integers(0, 5),
)
def test_drawn_splits_keep_groups_whole(labels: list[int], groups: list[str], seed: int) -> None:
    samples = pd.DataFrame(
        {
            "id": [f"i{n}" for n in range(len(labels))],
            "label": labels,
            "group": groups[: len(labels)],
        }
    )
    split = draw_splits(samples, seed)
    assert split.isin(["train", "val", "test"]).all()
    named = samples["group"] != ""
    assert (split[named].groupby(samples["group"][named]).nunique() == 1).all()
    pd.testing.assert_series_equal(split, draw_splits(samples, seed))
    for label in {label for label, group in zip(labels, groups, strict=False) if not group}:
        alone = samples.index[(samples["label"] == label) & ~named]
        if len(alone) >= 3 and not named.any():
            assert set(split[alone]) == {"train", "val", "test"}
