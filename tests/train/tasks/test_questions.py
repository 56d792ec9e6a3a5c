"""One store answers many questions: tables of labels from training to prediction."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from copies import tree
from quick_training import quick
from shown import text_of
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError, SourceError
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.commands.show.trainings import describe_results, describe_trials
from samcache.train import run as run_module
from samcache.train.evaluate import evaluate
from samcache.train.probe import probe
from samcache.train.report.page import write_report
from samcache.train.run import train
from samcache.train.runs.ensemble import open_predictor
from samcache.train.runs.run import open_run
from samcache.train.search.dimensions import parse_search
from samcache.train.sweep import SweepConfig, sweep
from samcache.train.tasks.label_table import open_label_table
from samcache.train.tasks.options import TaskOptions

KINDS: dict[str, dict[str, Any]] = {
    "class": {"target": ("side",)},
    "ordinal": {"target": ("grade",), "kind": "ordinal"},
    "corn": {"target": ("grade",), "kind": "ordinal", "loss": "corn"},
    "multilabel": {"target": ("dark", "even")},
    "number": {"target": ("age",), "kind": "number", "unit": "years"},
}


@pytest.fixture
def store(run_extract: Extract) -> Store:
    return run_extract()[0]


@pytest.fixture
def table(store: Store, tmp_path: Path) -> Path:
    """A table with a column for each kind; two samples have no row, two no label."""
    samples = store.samples
    place = np.arange(len(samples))
    rows = (
        pd.DataFrame(
            {
                "file": samples["id"],
                "side": np.where(samples["label"] == 1, "left", "right"),
                "grade": place % 3,
                "dark": place % 2,
                "even": np.where(place % 5 == 0, "", (place // 2) % 2),
                "age": 30 + 0.5 * place + 10 * samples["label"],
                "sex": np.where(place % 2 == 0, "f", "m"),
            }
        )
        .astype(object)
        .iloc[2:]
    )
    rows.loc[2:3, ["side", "grade", "dark", "even", "age"]] = "unknown"
    path = tmp_path / "labels.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_from_a_table_to_a_prediction(
    kind: str, store: Store, table: Path, tmp_path: Path
) -> None:
    before = tree(Path(store.location))
    task = TaskOptions(labels=table, **KINDS[kind])
    remarks: list[Remark] = []
    config = quick(store, tmp_path / "run", task=task, image_size=16, join=True)
    results = train(config, remarks.append)
    told = [remark.text for remark in remarks]
    assert any("38 of 40 images matched by id (column 'file'), 2 without a row" in t for t in told)
    assert "2 images without a label (unknown): left out" in told
    assert tree(Path(store.location)) == before, "nothing is written to the store"
    run = open_predictor(config.out)
    assert run.target.kind == (task.kind or run.target.kind)
    assert run.config["task"]["labels"] == "labels.csv"
    found, predictions = evaluate(run, store, "test", "cpu", TaskOptions(labels=table))
    assert found.samples == results.fractions[0].test_samples
    for name, summary in found.metrics.items():
        expected = results.fractions[0].metrics[name]
        assert summary.mean == pytest.approx(expected.mean, abs=1e-5, nan_ok=True), name
    tests = open_run(config.out).tests[1.0]
    columns = list(run.target.output_columns)
    mean = tests.groupby("id", sort=False)[columns].mean()
    same = predictions.set_index("id")[columns]
    np.testing.assert_allclose(same, mean.loc[same.index], rtol=1e-4, atol=1e-5)


def test_a_finding_that_the_test_lacks_has_no_metrics(
    store: Store, table: Path, tmp_path: Path
) -> None:
    rows, train_only = pd.read_csv(table), store.samples["split"].to_numpy()[2:] == "train"
    rows["early"] = np.where(train_only & (np.arange(len(rows)) % 3 == 0), 1, 0)
    rows.to_csv(table, index=False)
    task = TaskOptions(labels=table, target=("dark", "early"))
    results = train(quick(store, tmp_path / "run", task=task, epochs=1))
    metrics = results.fractions[0].metrics
    assert "auc:early" not in metrics
    assert metrics["auc"].mean == metrics["auc:dark"].mean
    assert "AUC of dark" in text_of(describe_results(results))
    write_report((tmp_path / "run",), None, None, tmp_path / "page.html")
    assert "<td" in (tmp_path / "page.html").read_text().partition(">early</th>")[2]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_probed_and_cross_validated(
    kind: str, store: Store, table: Path, tmp_path: Path
) -> None:
    task = TaskOptions(labels=table, **KINDS[kind])
    assert len(probe(store, task).scores) >= 5
    config = quick(
        store, tmp_path / "run", task=replace(task, by=("sex",)), folds=2, seeds=(0,), epochs=1,
        attention="none", image_size=16, fractions=(0.5, 1.0),
    )  # fmt: skip
    results = train(config)
    assert results.fractions[0].test_samples == 36
    assert [(group.value, group.samples) for group in results.subgroups] == [("f", 18), ("m", 18)]


def test_a_table_gives_the_numbers_of_a_store_that_was_extracted_with_it(
    store: Store, tmp_path: Path
) -> None:
    named = store.samples.assign(y=np.where(store.samples["label"] == 1, "1", "0"))
    named[["id", "y"]].to_csv(tmp_path / "same.csv", index=False)
    asked = TaskOptions(labels=tmp_path / "same.csv", target=("y",))
    train(quick(store, tmp_path / "own"))
    train(quick(store, tmp_path / "table", task=asked))
    own, given = (pd.read_csv(tmp_path / n / "predictions.csv") for n in ("own", "table"))
    pd.testing.assert_frame_equal(own, given)
    for name in ("seed-0", "seed-1"):
        weights = [(tmp_path / n / f"{name}.safetensors").read_bytes() for n in ("own", "table")]
        assert weights[0] == weights[1]


def test_splits_come_from_a_column_or_a_table(store: Store, table: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(table)
    rows["part"] = np.array(["training", "valid", "test", "training"])[
        np.arange(len(rows)) // 2 % 4
    ]
    rows.to_csv(table, index=False)
    rows[["file", "part"]].rename(columns={"part": "split"}).to_csv(tmp_path / "s.csv", index=False)
    shared = TaskOptions(labels=table, **KINDS["class"])
    counts = [
        train(quick(store, tmp_path / name, task=task, seeds=(0,), epochs=1)).members[0].samples
        for name, task in {
            "column": replace(shared, split_column="part"),
            "table": replace(shared, splits=tmp_path / "s.csv"),
        }.items()
    ]
    assert counts[0] == counts[1] != {"train": 24, "val": 8, "test": 8}
    with pytest.raises(ConfigError, match="column 'side' holds 'left', and splits are train, val"):
        train(quick(store, tmp_path / "no", task=replace(shared, split_column="side")))


def test_each_value_of_a_column_is_held_out_once(store: Store, table: Path, tmp_path: Path) -> None:
    task = TaskOptions(labels=table, folds_by="sex", **KINDS["number"])
    config = quick(store, tmp_path / "run", task=task, seeds=(0,), epochs=1)
    assert train(config).folds == 2
    tests = open_run(config.out).tests[1.0]
    assert tests.groupby("fold")["by_sex"].unique().map(list).tolist() == [["f"], ["m"]]


def test_a_resumed_run_takes_no_other_table(
    store: Store, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    config = quick(store, tmp_path / "run", task=TaskOptions(labels=table, **KINDS["class"]))
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    table.write_text(table.read_text().replace("left", "Left", 1).replace("Left", "right", 1))
    with pytest.raises(ConfigError, match=r"other options \(.*task is .*sha256"):
        train(config)


def test_images_whose_findings_are_all_unknown_are_left_out(
    store: Store, table: Path, tmp_path: Path
) -> None:
    rows = pd.read_csv(table, dtype=str)
    rows.loc[[5, 6], ["dark", "even"]] = "-1"
    rows.to_csv(table, index=False)
    remarks: list[Remark] = []
    task = TaskOptions(labels=table, **KINDS["multilabel"])
    train(quick(store, tmp_path / "run", task=task, seeds=(0,), epochs=1), remarks.append)
    assert "2 images with unknown findings alone: left out" in [one.text for one in remarks]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ("nothing",)}, "has no column 'nothing': it has file, side"),
        ({}, "needs the name of the column with the answer"),
        ({"target": ("side",), "loss": "huber"}, "loss huber is not one for the kind class"),
        ({"target": ("age",)}, "choose number, ordinal or class"),
        ({"target": ("side",), "unit": "mm"}, "unit is an option of the kind number, and the kin"),
        ({"target": ("grade",), "kind": "ordinal", "ordered": True}, "ordered is an option of the"),
        ({"target": ("side",), "by": ("site",)}, "has no column 'site'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(
    options: dict[str, object], message: str, store: Store, table: Path, tmp_path: Path
) -> None:
    task = TaskOptions(labels=table, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        train(quick(store, tmp_path / "run", task=task))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "x"}, "key names a column of a table of labels, and none is given"),
        ({"order": ("a",), "kind": "number"}, "an order is one of grades"),
        ({"labels": Path("t"), "splits": Path("s"), "split_column": "x"}, "give one of the two"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("corn", ["p_0", "p_1", "p_2"]), ("multilabel", ["p_dark", "p_even"]), ("number", ["value"])],
)
def test_a_run_alone_predicts_and_is_exported(
    kind: str, columns: list[str], store: Store, table: Path, tmp_path: Path
) -> None:
    task = TaskOptions(labels=table, **KINDS[kind])
    train(quick(store, tmp_path / "run", task=task, image_size=16, backbone="timm:test_resnet"))
    table.unlink()
    predict = ["predict", "run", store.location, "--out", "predicted.csv"]
    export = ["export", "run", "--out", "program.pt2", "--store", store.location]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for words in (predict, export):
            result = CliRunner().invoke(cli, words)
            assert result.exit_code == 0, result.output
    found = pd.read_csv(tmp_path / "predicted.csv")
    assert list(found) == ["id", "predicted", *columns, "sd", "reason"]
    assert found[columns].notna().all(axis=None)
    tested = open_run(tmp_path / "run").tests[1.0].groupby("id")[columns].mean()
    given = found.set_index("id").loc[tested.index, columns]
    np.testing.assert_allclose(given, tested, rtol=1e-4, atol=1e-5)


def test_a_sweep_looks_for_the_best_value_of_the_kind(
    store: Store, table: Path, tmp_path: Path
) -> None:
    task = TaskOptions(labels=table, **KINDS["number"])
    base = quick(store, tmp_path / "sweep", task=task, seeds=(0,), attention="none")
    found = sweep(SweepConfig(base, parse_search(("lr=1e-5|1e-2",)), 2))
    best, worst = found.table["val_mae"]
    assert best <= worst, "the lowest error is the best"
    assert found.command is not None
    assert "--target age --kind number --unit years" in found.command
    assert "compared by validation mean absolute error" in text_of(describe_trials(found))


def test_the_labels_of_an_npz_with_several_labels_are_findings(
    run_extract: Extract, tmp_path: Path
) -> None:
    """ChestMNIST's layout, with synthetic images: the file is the source and the table."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": 24, "val": 8, "test": 8}.items():
        labels = rng.permuted(np.arange(count)[:, None].repeat(3, axis=1), axis=0) % 2
        noise = rng.integers(0, 90, (count, 20, 20))
        arrays[f"{split}_images"] = (noise + 60 * labels[:, :1, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    np.savez(tmp_path / "chest.npz", **arrays)
    store, _ = run_extract(source=tmp_path / "chest.npz")
    task = TaskOptions(labels=tmp_path / "chest.npz", kind="multilabel")
    results = train(quick(store, tmp_path / "run", task=task, join=True))
    assert results.classes == ("0", "1", "2")
    assert {"auc", "accuracy", "auc:0", "prevalence:2"} <= results.fractions[0].metrics.keys()
    assert results.fractions[0].metrics["prevalence:1"].mean == pytest.approx(0.5)


def test_a_label_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        head = io.BytesIO()
        claim = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)}
        np.lib.format.write_array_header_1_0(head, claim)
        file.writestr("train_labels.npy", head.getvalue() + bytes(1000))
    with pytest.raises(SourceError, match=r"train_labels claims 1099\.5 GB, more than"):
        open_label_table(path, None)
