"""Columns of a manifest that a store keeps: wherever the store goes, and as questions."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from copies import tree
from image_files import draw
from quick_training import quick
from store_content import create
from tiny_extraction import Extract

import samcache
from samcache.cache.care.copy import copy_store
from samcache.cache.care.diff import diff_stores
from samcache.cache.care.gc import find_garbage
from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.care.info import describe
from samcache.cache.care.merge import merge_stores
from samcache.cache.care.verify import verify
from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.format.records import seal, unseal
from samcache.cache.format.samples import parse_generation
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.train.evaluate import evaluate
from samcache.train.run import train
from samcache.train.runs.ensemble import open_predictor
from samcache.train.runs.run import open_run
from samcache.train.tasks.options import TaskOptions

KEEP = SourceOptions(keep_columns=("sex", "Größe, cm"))
COLUMNS = ["kept_sex", "kept_Größe, cm"]


def write(folder: Path, count: int = 24, **changes: dict[int, str]) -> Path:
    """A manifest of images with a class, the patient's sex and height; changes: row -> value."""
    place = np.arange(count)
    table = pd.DataFrame(
        {
            "file": [f"{number:02}.png" for number in place],
            "class": np.where(place % 2 == 0, "a", "b"),
            "split": np.array(["train", "train", "val", "test"])[place // 4 % 4],
            "sex": np.where(place // 2 % 2 == 0, "f", "m"),
            "Größe, cm": 150 + place,
        }
    ).astype({"Größe, cm": str})
    for name, values in changes.items():
        table.loc[list(values), name] = list(values.values())
    for number in place:
        draw(folder / f"{number:02}.png", int(number))
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return write(tmp_path / "images", 32)


@pytest.fixture
def store(run_extract: Extract, manifest: Path) -> Store:
    return run_extract(source=manifest, reading=KEEP)[0]


def values_of(store: Store) -> dict[str, tuple[str, ...]]:
    table = store.table
    return dict(zip(table["id"], table[COLUMNS].itertuples(index=False, name=None), strict=True))


def test_kept_columns_go_with_the_samples_wherever_the_store_goes(
    store: Store, manifest: Path, checkpoint: Path, tmp_path: Path
) -> None:
    expected = values_of(store)
    assert expected["03.png"] == ("m", "153")
    assert describe(store)["kept_columns"] == ["sex", "Größe, cm"]
    copy_store(store, tmp_path / "copy.zarr")
    export_store(store, tmp_path / "s.h5")
    import_store(tmp_path / "s.h5", tmp_path / "back.zarr")
    merge_stores([store], tmp_path / "merged.zarr")
    for name in ("copy", "back", "merged"):
        other = Store(tmp_path / f"{name}.zarr")
        assert values_of(other) == expected, name
        assert (verify(other), find_garbage(other)) == ([], []), name
        assert diff_stores(store, other).samples == []
    column = Path(store.location, store.generation.make_column_key("kept_1"))
    before = column.read_bytes()
    column.write_bytes(b"")
    assert [one.key.split("/")[-3] for one in verify(store)] == ["kept_1"]
    repair(RepairOptions(store.location, manifest, checkpoint))
    assert column.read_bytes() == before
    samples = samcache.open(store.location).samples
    assert samples.groupby("kept_sex").size().to_dict() == {"f": 16, "m": 16}
    result = CliRunner().invoke(cli, ["cache", "info", store.location])
    assert "sex, Größe, cm" in result.output


def test_growing_keeps_the_columns_and_prune_follows_their_values(
    run_extract: Extract, manifest: Path
) -> None:
    run_extract(source=manifest, reading=KEEP)
    write(manifest.parent, 36, sex={1: "m"})
    grown, summary = run_extract(source=manifest)
    assert values_of(grown)["35.png"] == ("m", "185")
    assert values_of(grown)["01.png"] == ("f", "151"), "as it was stored"
    assert summary.changes.regrouped == ("01.png",)
    pruned, _ = run_extract(source=manifest, prune=True)
    assert values_of(pruned)["01.png"] == ("m", "151")
    text = manifest.read_text()
    manifest.write_text(text.replace("sex", "gender"))
    with pytest.raises(SourceError, match="should have a column 'sex'"):
        run_extract(source=manifest)
    with pytest.raises(SourceError, match="no columns to keep, such as 'sex'"):
        run_extract(source=manifest.parent)


def test_columns_may_be_kept_later_and_encode_nothing(run_extract: Extract, manifest: Path) -> None:
    before, _ = run_extract(source=manifest)
    assert list(before.samples)[:5] == ["id", "label", "split", "group", "row"]
    after, summary = run_extract(source=manifest, reading=KEEP)
    assert (summary.encoded, summary.copied) == (0, 0)
    assert values_of(after)["03.png"] == ("m", "153")
    difference = diff_stores(before, after)
    assert {(change.name, change.a) for change in difference.samples} == {
        (name, "") for name in COLUMNS
    }


@pytest.mark.parametrize("reading", [KEEP, replace(KEEP, no_labels=True)])
def test_values_are_those_of_their_line(reading: SourceOptions, manifest: Path) -> None:
    table = open_source(manifest, reading).samples.set_index("id")
    assert list(table["kept_Größe, cm"]) == [str(150 + int(name[:2])) for name in table.index]


def test_stores_that_keep_different_columns_are_merged(
    run_extract: Extract, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    other, _ = run_extract(
        "more", source=write(tmp_path / "more"), reading=SourceOptions(keep_columns=("sex",))
    )
    merged = merge_stores([store, other], tmp_path / "merged.zarr", prefixes=("A", "B"))
    table = merged.table.set_index("id")
    assert list(table.loc["A/03.png", COLUMNS]) == ["m", "153"]
    assert list(table.loc["B/03.png", COLUMNS]) == ["m", ""]


@pytest.mark.parametrize(
    ("name", "error"),
    [("height", "should have a column 'height'"), ("a/b", "cannot be kept: rename it")],
)
def test_columns_that_cannot_be_kept_are_refused(name: str, error: str, manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("sex", "a/b"))
    with pytest.raises(SourceError, match=error):
        open_source(manifest, SourceOptions(keep_columns=(name,)))


@pytest.mark.parametrize("kept", [["a"], ["a", "a"], ["x/y", "b"], ["a", ""], ["a", "b\n"]])
def test_a_record_with_other_kept_columns_than_its_objects_is_damaged(
    kept: list[str], store: Store
) -> None:
    record = unseal(store.generation.to_bytes())
    with pytest.raises(StoreError, match=r"kept columns|other objects"):
        parse_generation(seal({**record, "kept": kept}))


def test_a_store_that_keeps_nothing_has_the_records_of_before(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    for key in ("zarr.json", "samples/zarr.json"):
        assert "kept" not in Path(store.location, key).read_text()


def test_kept_columns_are_questions(store: Store, tmp_path: Path) -> None:
    before = tree(Path(store.location))
    task = TaskOptions(target=("sex",), by=("class",))
    results = train(quick(store, tmp_path / "sex", task=task, seeds=(0,)))
    assert results.classes == ("f", "m")
    assert [group.value for group in results.subgroups] == ["a", "b"]
    run = open_predictor(tmp_path / "sex")
    assert run.config["task"]["target"] == ["sex"]
    evaluation, _ = evaluate(run, store, "test", "cpu")
    assert evaluation.metrics["auc"].mean == pytest.approx(
        results.fractions[0].metrics["auc"].mean, abs=1e-5
    )
    table = store.table[["id"]].assign(sex=store.table["kept_sex"])
    table.to_csv(tmp_path / "t.csv", index=False)
    asked = TaskOptions(labels=tmp_path / "t.csv", target=("sex",))
    train(quick(store, tmp_path / "table", task=asked, seeds=(0,)))
    first, second = (open_run(tmp_path / name).tests[1.0] for name in ("sex", "table"))
    columns = list(run.target.output_columns)
    np.testing.assert_array_equal(first[columns], second[columns])
    height = TaskOptions(target=("Größe, cm",), kind="number")
    assert train(quick(store, tmp_path / "cm", task=height, seeds=(0,))).fractions
    own = train(quick(store, tmp_path / "own", task=TaskOptions(by=("sex",)), seeds=(0,)))
    assert (own.classes, [group.value for group in own.subgroups]) == (("a", "b"), ["f", "m"])
    folds = TaskOptions(folds_by="sex")
    assert train(quick(store, tmp_path / "folds", task=folds, seeds=(0,))).fractions
    assert tree(Path(store.location)) == before


def test_a_store_without_labels_names_the_columns_that_it_keeps(
    run_extract: Extract, manifest: Path, tmp_path: Path
) -> None:
    store, _ = run_extract("plain", source=manifest, reading=replace(KEEP, no_labels=True))
    with pytest.raises(
        ConfigError, match=r"a column that it keeps \(sex, Größe, cm\), or"
    ) as error:
        train(quick(store, tmp_path / "run"))
    assert error.value.hint == "target labels+target"


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ({"target": ("age",)}, "the columns that toy.zarr keeps has no column 'age': it has sex"),
        ({"by": ("age",)}, "has no column 'age'"),
    ],
)
def test_columns_that_a_store_does_not_keep_are_refused(
    task: dict[str, tuple[str, ...]], error: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)):
        train(quick(store, tmp_path / "run", task=TaskOptions(**task)))


def test_a_store_without_kept_columns_asks_for_a_table(
    run_extract: Extract, tmp_path: Path
) -> None:
    store, _ = run_extract()
    with pytest.raises(ConfigError, match="keeps no columns of a manifest: give a table of labels"):
        train(quick(store, tmp_path / "run", task=TaskOptions(target=("sex",))))
