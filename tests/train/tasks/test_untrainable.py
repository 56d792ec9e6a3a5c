"""What train would refuse is told by --check, --plan and extract in the same words, all at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick_training import quick, run
from rich.console import Console
from shown import text_of
from trained_run import samcache

from samcache.cache.care.info import describe
from samcache.cache.care.merge import merge_stores
from samcache.cache.errors import ConfigError
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.commands.show.extraction import (
    describe_plan,
    describe_report,
    describe_summary,
    plan_to_json,
    report_to_json,
    summary_to_json,
)
from samcache.commands.terminal.hints import add_options
from samcache.extract import run as extracting
from samcache.extract.check import check_source
from samcache.extract.options import ExtractOptions
from samcache.extract.plan import plan_run
from samcache.extract.run import extract
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.train.probe import probe

QUIET = Console(quiet=True)
SPLITS = ["train"] * 14 + ["val"] * 4 + ["test"] * 6

Change = Callable[[int, str, str], tuple[str, ...]]  # number, class, split -> a manifest's columns


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest of 24 images, as changed; a class is brighter than the other."""

    def write(change: Change, header: str = "file,class,split") -> Path:
        (tmp_path / "imgs").mkdir(exist_ok=True)
        lines = [header]
        for number, split in enumerate(SPLITS):
            name = f"imgs/{number:03}.png"
            pixels = np.random.default_rng(number).integers(0, 99, (20, 20, 3)) + number % 2 * 99
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
            lines.append(",".join([name, *change(number, "ab"[number % 2], split)]))
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def options(tmp_path: Path, checkpoint: Path) -> ExtractOptions:
    """The options of an extraction from that manifest."""
    return ExtractOptions(
        tmp_path / "labels.csv", tmp_path / "s.zarr", "vit_tiny", checkpoint, pool=2, shard_rows=8
    )


def remarks(options: ExtractOptions) -> tuple[str, ...]:
    """Those of --check, --plan and extract, which must agree, and come before the encoder."""
    source = open_source(options.source, options.reading)
    checked, planned = check_source(source), plan_run(options)
    early = list[Remark]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extracting, "prepare_target", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract(options, on_remark=early.append)
    extracted = extract(options)
    assert checked.remarks == planned.remarks == tuple(early) == extracted.remarks
    lines = [add_options(one.text, one.hint) for one in early]
    for report in (report_to_json(checked), plan_to_json(planned), summary_to_json(extracted)):
        assert json.loads(json.dumps(report))["remarks"] == lines
    for parts in (describe_report(checked), describe_plan(planned), describe_summary(extracted)):
        assert all(line in parts for line in lines)
    return tuple(one.text for one in early)


WELL: Change = lambda _, name, split: (name, split)  # noqa: E731

UNTRAINABLE: dict[str, tuple[Change, str, list[str]]] = {
    "no val": (
        lambda _, name, split: (name, split.replace("val", "train")),
        "by its own splits: val is empty",
        ["train in 5 folds", "add images to the splits"],
    ),
    "neither val nor test": (
        lambda _n, name, _s: (name, "train"),
        "by its own splits: val and test are empty",
        ["train in 5 folds"],
    ),
    "a class in train alone, and no val": (
        lambda n, name, split: ("c" if n < 5 else name, split.replace("val", "test")),
        "by its own splits: val is empty; class 'c' is missing from test",
        ["train in 5 folds"],
    ),
    "one class": (
        lambda _n, _c, split: ("a", split),
        "by its own splits: all samples are of one class, 'a'",
        [],
    ),
    "letter case": (
        lambda _, name, split: (name.upper() if split == "test" else name, split),
        "2 classes ('A', 'B') are missing from train and val; 2 classes ('a', 'b') are missing",
        ["give 'A' and 'a' one name", "give 'B' and 'b' one name"],
    ),
    "numbers written in two ways": (
        lambda n, _, split: (f"{n % 2}.0" if split == "test" else f"{n % 2}", split),
        "2 classes ('0', '1') are missing from test",
        ["give '0' and '0.0' one name"],
    ),
    "missing labels": (
        lambda n, name, split: ("nan" if n in (3, 8, 15) else name, split),
        "class 'nan' is missing from test",
        ["give the images of class 'nan' a label"],
    ),
}


@pytest.mark.parametrize("kind", UNTRAINABLE)
def test_what_train_refuses_is_told_before_anything_is_encoded(
    kind: str, manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    change, problem, ways_out = UNTRAINABLE[kind]
    manifest(change)
    refusal, *_ = remarks(options)
    assert refusal.startswith("labels cannot be trained ")
    assert problem in refusal
    assert all(way in refusal for way in ways_out)
    store = Store(options.store)
    for train in (lambda: run(quick(store, tmp_path / "run")), lambda: probe(store)):
        with pytest.raises(ConfigError) as refused:
            train()
        assert str(refused.value) == refusal.replace("labels", str(options.store), 1)
    if "--folds" in refusal:
        run(quick(store, tmp_path / "run", folds=5, epochs=1, seeds=(0,)))


def test_a_source_that_can_be_trained_is_told_nothing(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    manifest(WELL)
    assert remarks(options) == ()
    assert run(quick(Store(options.store), tmp_path / "run", epochs=1)).leaks == []


def test_look_alikes_and_missing_labels_are_told_where_train_takes_them(
    manifest: Callable[..., Path], options: ExtractOptions
) -> None:
    names = {0: "grade 1", 1: "None", 2: "Grade-1"}
    manifest(lambda n, _, split: (names.get(n % 4, "x"), split))
    alike, missing = remarks(options)
    assert alike.startswith("classes that look alike: 'Grade-1' (6 images), 'grade 1' (6 images)")
    assert missing.startswith("class 'None' (6 images) looks like a missing label")


def test_images_that_cannot_be_read_are_the_first_cause(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    manifest(WELL)
    for path in (tmp_path / "imgs").iterdir():
        path.write_bytes(b"no image")
    problem = "24 of 24 images cannot be read; train, val and test are empty"
    checked = check_source(open_source(options.source, options.reading))
    assert problem in checked.remarks[0].text
    assert "rarest class" not in checked.remarks[0].text
    assert "sizes" not in text_of(describe_report(checked))


def test_labels_that_name_images_rather_than_classes_are_told(
    manifest: Callable[..., Path], options: ExtractOptions
) -> None:
    manifest(lambda n, *_: (f"2021-03-{n + 1:02}",), "file,class")
    (refusal,) = remarks(options)
    assert "name the column of the classes" in refusal
    assert "rarest class" not in refusal


def test_many_classes_are_listed_a_line_each(
    manifest: Callable[..., Path], options: ExtractOptions
) -> None:
    manifest(lambda n, *_: (f"class {n}",), "file,class")
    text = text_of(describe_report(check_source(open_source(options.source, options.reading))))
    table = [line.split() for line in text.splitlines()[1:]]
    assert table[0] == ["train", "val", "test"]
    assert table[1] == ["class", "0", "1", "0", "0"]
    assert table[21] == ["and", "4", "more", "4", "0", "0"]
    assert table[22] == ["total", "24", "0", "0"]


@pytest.mark.parametrize("shown", ["{:.3f}", "{:.1f}", "-{:.2e}"])
def test_measurements_in_place_of_classes_are_told(
    manifest: Callable[..., Path], options: ExtractOptions, shown: str
) -> None:
    manifest(lambda n, *_: (shown.format(0.1 + n * 0.137),), "file,class")
    refusal, measured = remarks(options)
    assert "by the drawn splits: val and test are empty" in refusal
    assert "group the numbers into a few classes" in refusal
    assert "different numbers are read as classes" in measured
    assert "train with the kind number" in measured
    assert "train with the kind number" in refusal


def test_several_findings_in_a_class_are_told(
    manifest: Callable[..., Path], options: ExtractOptions
) -> None:
    manifest(lambda n, c, split: (f"{c}|c" if n in (3, 8, 15) else c, split))
    assert any("'a|c', 'b|c' looks like several findings" in one for one in remarks(options))


def test_one_patient_for_all_is_told_and_can_be_left_out_of_account(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    manifest(lambda _, name, __: (name, "ANON"), "file,class,patient")
    options = replace(options, reading=SourceOptions(group="patient"))
    (refusal,) = remarks(options)
    assert "by the drawn splits: 1 patient in 24 images: val and test are empty" in refusal
    assert "without a group column" in refusal
    assert "folds" not in refusal
    assert "leave" not in refusal, "nobody has given splits"
    with pytest.raises(ConfigError, match=r"in 4 folds: 1 patient in .*without a group col"):
        run(quick(Store(options.store), tmp_path / "run", folds=4))
    ungrouped = replace(options, store=tmp_path / "u.zarr", reading=SourceOptions(group="none"))
    assert remarks(ungrouped) == ()
    assert set(Store(ungrouped.store).table["group"]) == {""}


def test_limit_may_be_the_cause(manifest: Callable[..., Path], options: ExtractOptions) -> None:
    manifest(WELL)
    (refusal,) = extract(replace(options, limit=3)).remarks
    assert "What helps: extract the whole source, without a limit; or" in refusal.text


@pytest.mark.parametrize("train", [run, lambda config: probe(Store(config.store))])
def test_images_that_are_not_extracted_yet_are_the_first_cause(
    manifest: Callable[..., Path],
    options: ExtractOptions,
    tmp_path: Path,
    train: Callable[[object], object],
) -> None:
    manifest(WELL)
    extract(options)
    for shard in (1, 2):
        (tmp_path / f"s.zarr/commits/{shard:08}/zarr.json").unlink()
    with pytest.raises(ConfigError) as refused:
        train(quick(Store(options.store), tmp_path / "run"))
    assert str(refused.value) == (
        f"16 of 24 images of {options.store} are not extracted yet: run the same samcache extract "
        "command again to finish"
    )


def test_everything_that_is_wrong_with_a_request_is_told_at_once(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    manifest(UNTRAINABLE["no val"][0])
    extract(options)
    (tmp_path / "s.zarr/commits/00000001/zarr.json").unlink()
    with pytest.raises(
        ConfigError,
        match=r"seeds -1: each .*; fractions 2: each .*; 8 of 24 .*; .* val is empty",
    ):
        run(quick(Store(options.store), tmp_path / "run", seeds=(-1,), fractions=(2.0,)))


@pytest.mark.parametrize("emptied", ["nan", "aa"], ids=["the last class", "the first"])
def test_a_class_that_has_lost_its_images_is_left_out_of_training(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path, emptied: str
) -> None:
    """Its number stays in the store; run, report, predict, evaluate and merge know it no more."""
    names = {"a": "b1", "b": "c1"}
    manifest(lambda n, c, split: (emptied if n in (3, 8, 15) else names[c], split))
    extract(options)
    manifest(lambda _, c, split: (names[c], split))
    (remark,) = extract(replace(options, relabel=True)).remarks
    assert remark.text.startswith(f"no image is of class '{emptied}'")
    store = Store(options.store)
    assert describe(store)["counts"]["train"] == {"b1": 7, "c1": 7}
    results = run(quick(store, tmp_path / "run"))
    assert results.classes == ("b1", "c1")
    assert probe(store).remarks == (remark.text,)
    for words in (
        ("predict", tmp_path / "run", store.location, "--out", tmp_path / "p.csv"),
        ("evaluate", tmp_path / "run", store.location, "--out", tmp_path / "e"),
        ("report", tmp_path / "run", "--out", tmp_path / "report.html"),
        ("cache", "info", store.location),
    ):
        found = samcache(*words)
        assert found.exit_code == 0, found.output
    merged = merge_stores([store], tmp_path / "m.zarr", False)
    assert merged.dataset.classes == ("b1", "c1")
    assert run(quick(merged, tmp_path / "again")).members[0].scores == results.members[0].scores


def test_copies_and_patients_in_two_splits_are_told_by_train_and_probe(
    manifest: Callable[..., Path], options: ExtractOptions, tmp_path: Path
) -> None:
    manifest(lambda n, c, s: (c, s, f"p{n % 20}"), "file,class,split,patient")
    (tmp_path / "imgs/023.png").write_bytes((tmp_path / "imgs/001.png").read_bytes())
    reading = SourceOptions(group="patient")
    extract(replace(options, reading=reading, allow_split_groups=True))
    words = ["train", options.store, "--out", tmp_path / "run", "--epochs", 1, "--image-size", 32]
    words += ["--backbone", "timm:test_resnet", "--device", "cpu", "--seeds", 0]
    told = samcache(*words).stderr
    copies = "warning: 1 image occurs in more than one split, such as imgs/001.png (train, b)"
    groups = "warning: 4 groups (patients) occur in more than one split, such as 'p0' in test and"
    assert copies in told
    assert groups in told
    assert copies in samcache("probe", options.store).stderr
    folds = samcache(*words, "--folds", 2, "--overwrite")
    assert "in more than one split" not in folds.output, "folds keep them whole"
