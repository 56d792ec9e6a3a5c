"""A store needs no labels: what reads it knows none, and a table gives a training its question."""

from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from copies import tree
from image_files import draw
from quick_training import quick
from tiny_extraction import Extract

import samcache
from samcache.cache.care.copy import copy_store
from samcache.cache.care.diff import diff_stores
from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.care.info import describe
from samcache.cache.care.merge import merge_stores
from samcache.cache.care.verify import verify
from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.commands.show.extraction import report_to_json
from samcache.extract.check import check_source
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.sources.base import Source
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.train.evaluate import evaluate
from samcache.train.probe import probe
from samcache.train.run import train
from samcache.train.runs.ensemble import open_predictor
from samcache.train.runs.run import open_run
from samcache.train.tasks.options import TaskOptions

NO_LABELS = SourceOptions(no_labels=True)
ASKED = r"holds no labels: give a table of labels and the column with the answer"
DRAWN = "drawn: 70/10/20 %, groups whole, seed 0"


def read(source: Source) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Classes, id -> split, and where splits come from; without classes there are no labels."""
    table = source.samples
    assert source.classes or set(table["label"]) == {-1}
    return source.classes, dict(zip(table["id"], table["split"], strict=True)), source.split_origin


@pytest.mark.parametrize(
    ("files", "expected", "passed_over"),
    [
        ("1.png 2.png notes.txt", "1.png 2.png", ("notes.txt",)),
        ("1.png masks/readme.txt .old/3.png", "1.png", ("masks/readme.txt",)),
        ("train/1.png val/2.png test/3.png", "train/1.png val/2.png test/3.png", ()),
        (
            "train/1.png train/notes/a.txt test/3.png top.png",
            "train/1.png test/3.png",
            ("top.png", "train/notes/a.txt"),
        ),
    ],
)
def test_a_folder_whose_images_lie_in_no_class_folder_has_no_labels(
    files: str, expected: str, passed_over: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path, files)
    source = open_source(tmp_path, SourceOptions())
    classes, splits, origin = read(source)
    assert (classes, sorted(splits)) == ((), sorted(expected.split()))
    assert source.passed_over == passed_over
    if "train/" in files:
        assert (origin, splits["train/1.png"], splits["test/3.png"]) == ("source", "train", "test")
    else:
        assert origin == DRAWN


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ("a/1.png b/2.png", ("a", "b")),
        ("a/deep/1.png b/2.png loose.png", ("a", "b")),
        ("train/a/1.png train/b/2.png test/a/3.png loose.png", ("a", "b")),
        ("patient/1.png", ("patient",)),
    ],
)
def test_class_folders_are_classes_unless_nobody_wants_labels(
    files: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert open_source(tmp_path, SourceOptions()).classes == classes
    found, splits, origin = read(open_source(tmp_path, NO_LABELS))
    assert (found, origin == "source") == ((), "train" in files)
    loose = "loose.png" in splits
    assert len(splits) == len(files.split()) - ("loose.png" in files and not loose)
    assert loose == ("loose.png" in files and "train" not in files), "no split folder holds it"


@pytest.mark.parametrize(
    ("text", "reading", "error"),
    [
        ("file\na.png\nb.png\n", SourceOptions(), ""),
        ("file,patient\na.png,1\nb.png,2\n", SourceOptions(group="patient"), ""),
        ("file,class\na.png,x\nb.png,y\n", NO_LABELS, ""),
        ("file,class\na.png,x\nb.png,\n", NO_LABELS, ""),
        ("file,dx\na.png,x\nb.png,y\n", NO_LABELS, ""),
        ("file,dx\na.png,x\nb.png,y\n", SourceOptions(), "it is probably 'dx', or read no labels"),
        ("file,age\na.png,1\nb.png,2\n", SourceOptions(label="sex"), "should have a column 'sex'"),
        ("image,age\na.png,1\nb.png,2\n", SourceOptions(), "should have a column 'file'"),
    ],
)
def test_a_manifest_needs_no_column_of_classes(
    text: str, reading: SourceOptions, error: str, tmp_path: Path
) -> None:
    path = tmp_path / "images.csv"
    path.write_text(text)
    if error:
        with pytest.raises(SourceError, match=error):
            open_source(path, reading)
        return
    source = open_source(path, reading)
    assert read(source)[0::2] == ((), DRAWN)
    assert set(source.samples["group"]) == ({"1", "2"} if "patient" in text else {""})


def test_arrays_need_no_labels(npz: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(npz))
    names = {"train": "_images", "val": "_images", "test": "_images"}
    bare = {f"{split}{part}": arrays[f"{split}{part}"] for split, part in names.items()}
    np.savez(tmp_path / "bare.npz", **bare)
    labelled, bare_source = (
        open_source(path, SourceOptions()) for path in (npz, tmp_path / "bare.npz")
    )
    assert read(bare_source) == read(open_source(npz, NO_LABELS)) == ((), *read(labelled)[1:])
    np.savez(tmp_path / "half.npz", **bare, train_labels=arrays["train_labels"])
    with pytest.raises(SourceError, match="no val_labels: add them, or read no labels") as refused:
        open_source(tmp_path / "half.npz", SourceOptions())
    assert refused.value.hint == "no_labels"
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = arrays["train_images"]
    with pytest.raises(SourceError, match="or read no labels"):
        open_source(tmp_path / "x.h5", SourceOptions())
    assert read(open_source(tmp_path / "x.h5", NO_LABELS))[0] == ()


def test_several_labels_an_image_become_a_table_of_labels(
    run_extract: Extract, npz: Path, tmp_path: Path
) -> None:
    arrays = dict(np.load(npz))
    rng = np.random.default_rng(0)
    for name in [name for name in arrays if name.endswith("labels")]:
        arrays[name] = np.column_stack([arrays[name][:, 0], rng.integers(0, 2, len(arrays[name]))])
    path = tmp_path / "chest.npz"
    np.savez(path, **arrays)
    source = open_source(path, SourceOptions())
    (remark,) = source.remarks
    assert "2 labels an image: samcache stores the features without labels; train with" in (
        remark.text
    )
    assert remark.hint == "labels+kind"
    store, _ = run_extract(source=path)
    assert store.dataset.classes == ()
    task = TaskOptions(labels=path, kind="multilabel")
    results = train(quick(store, tmp_path / "run", task=task, seeds=(0,), epochs=1))
    assert results.fractions[0].test_samples == 8


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty images in one folder."""
    for number in range(20):
        draw(tmp_path / "images" / f"{number:02}.png", number)
    return tmp_path / "images"


def test_what_would_be_stored_is_told_before(images: Path) -> None:
    report = check_source(open_source(images, SourceOptions()))
    counts = report_to_json(report)["counts"]
    assert sum(row.pop("unlabelled") for row in counts.values()) == 20
    assert counts == {"train": {}, "val": {}, "test": {}}
    (remark,) = report.remarks
    assert remark.text.endswith("it has none. What helps: train with a table of labels and the "
                                "column with the answer")  # fmt: skip
    result = CliRunner().invoke(cli, ["extract", str(images), "--check"])
    assert result.exit_code == 0, result.output
    assert "(--labels and --target)" in " ".join(result.output.split())


def test_every_command_on_stores_takes_one_without_labels(
    run_extract: Extract, images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    store, summary = run_extract(source=images)
    assert asdict(store.dataset) == {"name": "images", "classes": (), "split_origin": DRAWN}
    assert set(store.table["label"]) == {-1}
    assert summary.remarks[0].hint == "labels+target"
    assert sum(n for row in describe(store)["counts"].values() for n in row.values()) == 20
    assert verify(store) == []
    copy_store(store, tmp_path / "copy.zarr")
    export_store(store, tmp_path / "s.h5")
    import_store(tmp_path / "s.h5", tmp_path / "back.zarr")
    for name in ("copy.zarr", "back.zarr"):
        assert diff_stores(store, Store(tmp_path / name)).same
    for command in (["info"], ["info", "--json"], ["verify"], ["gc"]):
        result = CliRunner().invoke(cli, ["cache", command[0], store.location, *command[1:]])
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(cli, ["cache", "info", store.location])
    assert "none: train takes them from a table (--labels)" in " ".join(result.output.split())
    column = Path(store.location, store.generation.make_column_key("label"))
    column.write_bytes(b"")
    repair(RepairOptions(store.location, images, checkpoint))
    assert verify(Store(store.location)) == []
    opened = samcache.open(store.location)
    assert (opened.classes, set(opened.samples["label"])) == ((), {-1})
    assert {int(label) for label in opened.dataset("train").labels} == {-1}
    assert "0 classes" in repr(opened)


def test_a_store_without_labels_grows_and_takes_none_later(
    run_extract: Extract, images: Path
) -> None:
    store, _ = run_extract(source=images)
    draw(images / "later" / "0.png", 50)
    draw(images / "20.png", 51)
    grown, summary = run_extract(source=images)
    assert summary.changes.added == ("20.png", "later/0.png")
    assert (len(grown.table), set(grown.table["label"])) == (22, {-1})
    with pytest.raises(StoreError, match="holds no labels, and never takes any: train it with"):
        run_extract(source=images, reading=SourceOptions(label="dx"))
    assert store.fingerprint == grown.fingerprint


def test_a_store_with_labels_takes_no_images_without(run_extract: Extract, npz: Path) -> None:
    run_extract(source=npz)
    with pytest.raises(StoreError, match=r"has the classes 0, 1, and the source no labels"):
        run_extract(source=npz, reading=NO_LABELS)


def test_stores_with_and_without_labels_are_not_merged(
    run_extract: Extract, npz: Path, images: Path, tmp_path: Path
) -> None:
    plain, _ = run_extract("plain", source=images)
    other, _ = run_extract("other", source=npz, reading=NO_LABELS)
    labelled, _ = run_extract("labelled", source=npz)
    merged = merge_stores([plain, other], tmp_path / "both.zarr")
    assert (merged.dataset.classes, set(merged.table["label"])) == ((), {-1})
    with pytest.raises(StoreError, match=r"plain.zarr holds no labels, and .*labelled.zarr does"):
        merge_stores([labelled, plain], tmp_path / "mixed.zarr")
    difference = diff_stores(labelled, other)
    assert [change.name for change in difference.dataset] == ["classes"]
    assert {change.b for change in difference.samples} == {""}
    assert difference.features == {}, "labels change no feature"


def test_a_table_gives_a_store_without_labels_the_numbers_of_one_with_them(
    run_extract: Extract, npz: Path, tmp_path: Path
) -> None:
    labelled, _ = run_extract("labelled", source=npz)
    plain, _ = run_extract("plain", source=npz, reading=NO_LABELS)
    names = np.array(labelled.dataset.classes)
    rows = {"id": labelled.table["id"], "side": names[labelled.table["label"]]}
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    for ask in (lambda: train(quick(plain, tmp_path / "no")), lambda: probe(plain)):
        with pytest.raises(ConfigError, match=ASKED) as refused:
            ask()
        assert refused.value.hint == "labels+target"
    task = TaskOptions(labels=tmp_path / "labels.csv", target=("side",))
    before = tree(Path(plain.location))
    train(quick(plain, tmp_path / "table", task=task))
    train(quick(labelled, tmp_path / "own"))
    first, second = (open_run(tmp_path / name).tests[1.0] for name in ("table", "own"))
    pd.testing.assert_frame_equal(first, second)
    run = open_predictor(tmp_path / "table")
    with pytest.raises(ConfigError, match=ASKED):
        evaluate(run, plain, "test", "cpu")
    assert len(samcache.load_run(run.folder).predict(plain.location)) == 40
    assert tree(Path(plain.location)) == before


def write(folder: Path, files: str) -> None:
    """Images, and files that are none."""
    for number, name in enumerate(files.split()):
        path = folder / name
        if path.suffix == ".png":
            draw(path, number)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("no image")
