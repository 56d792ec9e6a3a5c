"""Training reads a store once, writes a whole run folder, and repeats itself bit for bit."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from image_files import draw
from loading import find_sides, load_scaled
from PIL import Image
from quick_training import quick, run
from safetensors.torch import load_file
from shown import text_of
from store_content import uncommit
from tiny_extraction import Extract, write_npz

from samcache.cache.errors import ConfigError
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.commands.show.trainings import describe_results
from samcache.extract.sources.options import SourceOptions
from samcache.train.data import load as load_module
from samcache.train.data import scaling
from samcache.train.data.load import load_training_data
from samcache.train.fit import build
from samcache.train.fit import training as loop
from samcache.train.run import train
from samcache.train.runs.ensemble import load_ensemble, open_predictor
from samcache.train.scores.metrics import compute_accuracy, compute_macro_auc
from samcache.train.tasks import trainings
from samcache.train.tasks.options import TaskOptions


def test_the_run_folder_holds_everything(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = run(quick(store, out))
    config = json.loads((out / "config.json").read_text())
    assert config["fingerprint"] == store.fingerprint
    assert config["taps"]["neck"] == "stage4"
    metrics = pd.read_csv(out / "metrics.csv")
    assert metrics[["seed", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    predictions = pd.read_csv(out / "predictions.csv", dtype={"label": str})
    columns = ["seed", "fold", "fraction", "id", "split", "group", "label", "p_0", "p_1"]
    assert list(predictions.columns) == columns
    assert len(predictions) == 2 * (8 + 8), "validation and test alone"
    np.testing.assert_allclose(predictions[["p_0", "p_1"]].sum(axis=1), 1, atol=1e-5)
    saved = json.loads((out / "results.json").read_text())
    assert saved["fingerprint"] == store.fingerprint
    areas = [member.scores["auc"] for member in results.members]
    auc = saved["fractions"][0]["metrics"]["auc"]
    assert auc["mean"] == pytest.approx(np.mean(areas))
    assert auc["sd"] == pytest.approx(np.std(areas, ddof=1))
    assert auc["interval"]["low"] <= auc["mean"] <= auc["interval"]["high"]
    assert set(saved["members"][0]["scores"]) == {
        *("accuracy", "balanced_accuracy", "auc", "f1", "ece"),
        *("auc:0", "auc:1", "ap:0", "ap:1"),
    }


def test_results_are_those_of_the_predictions_file(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = run(quick(store, out))
    predictions = pd.read_csv(out / "predictions.csv")
    for member in results.members:
        test = predictions.query(f"seed == {member.seed} and split == 'test'")
        scores = test[["p_0", "p_1"]].to_numpy()
        assert member.scores["accuracy"] == compute_accuracy(test["label"].to_numpy(), scores)
        area = compute_macro_auc(test["label"].to_numpy(), scores)
        assert member.scores["auc"] == pytest.approx(area)
    tests = predictions.query("split == 'test'")
    together = tests.groupby("id", sort=False)[["p_0", "p_1"]].mean().to_numpy()
    labels = tests.drop_duplicates("id")["label"].to_numpy()
    ensemble = results.fractions[0].ensemble
    assert ensemble is not None
    assert ensemble["accuracy"].mean == compute_accuracy(labels, together)
    assert ensemble["auc"].mean == pytest.approx(compute_macro_auc(labels, together))
    assert ensemble["auc"].sd is None
    assert f"{compute_macro_auc(labels, together):.3f} (" in text_of(describe_results(results))


def test_one_seed_has_no_ensemble(store: Store, tmp_path: Path) -> None:
    results = run(quick(store, tmp_path / "run", seeds=(3,)))
    assert results.fractions[0].ensemble is None
    assert "ensemble" not in text_of(describe_results(results))


def test_saved_weights_give_the_saved_predictions(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = quick(store, out, seeds=(3,))
    run(config)
    data = load_scaled(store, find_sides(config, store), config.image_size)
    with torch.no_grad():
        probabilities = load_ensemble(open_predictor(out))(data.images, data.pooled)
    saved = pd.read_csv(out / "predictions.csv")
    rows = data.samples["id"].isin(saved["id"]).to_numpy()
    assert saved["split"].value_counts().to_dict() == {"val": 8, "test": 8}
    expected = probabilities.numpy()[rows]
    np.testing.assert_allclose(saved[["p_0", "p_1"]], expected, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(hash(name) % 1000)  # the caller's random state has no part in it
        run(quick(store, tmp_path / name, seeds=(5,)))
    first, second = (load_file(tmp_path / name / "seed-5.safetensors") for name in ("a", "b"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    files = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_a_seeds_result_does_not_depend_on_its_neighbours(store: Store, tmp_path: Path) -> None:
    run(quick(store, tmp_path / "both", seeds=(4, 5)))
    run(quick(store, tmp_path / "alone", seeds=(5,)))
    first, second = (load_file(tmp_path / n / "seed-5.safetensors") for n in ("both", "alone"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_store_is_read_once_for_all_seeds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def counted(*args: object) -> object:
        loads.append(args)
        return load_training_data(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(load_module, "load_training_data", counted)
    run(quick(store, tmp_path / "run", seeds=(0, 1, 2), epochs=1))
    assert len(loads) == 1


def test_each_step_on_the_way_is_done_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()

    def count(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def counted(*args: Any, **named: Any) -> Any:
            counts[name] += 1
            return function(*args, **named)

        monkeypatch.setattr(module, name, counted)

    count(build, "build_backbone")
    count(scaling, "scale_inputs")
    for module in (trainings, load_module):
        count(module, "ask")
    run(quick(store, tmp_path / "run", seeds=(0, 1, 2), epochs=1))
    assert counts == {"build_backbone": 3, "scale_inputs": 1, "ask": 1}


def test_members_of_one_seed_begin_with_equal_backbones_of_their_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    begin = loop._Training.__init__

    def note(self: loop._Training, *args: Any) -> None:
        begin(self, *args)
        begun.append((self.model, {k: v.clone() for k, v in self.model.state_dict().items()}))

    monkeypatch.setattr(loop._Training, "__init__", note)
    run(quick(store, tmp_path / "run", seeds=(0,), folds=2, epochs=1))
    (first, weights), (second, others) = begun
    assert first is not second
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_training_learns_what_the_images_show(store: Store, tmp_path: Path) -> None:
    results = run(quick(store, tmp_path / "run", epochs=8, seeds=(0,), lr=3e-3))
    assert results.members[0].scores["auc"] > 0.9
    losses = pd.read_csv(tmp_path / "run" / "metrics.csv")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0] / 2


def test_without_attention_no_features_are_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "read_features", lambda *_: pytest.fail("features were read"))
    results = run(quick(store, tmp_path / "run", attention="none"))
    assert len(results.members) == 2
    assert not any("attention" in key for key in load_file(tmp_path / "run" / "seed-0.safetensors"))


@pytest.mark.parametrize("attention", ["slca", "global", "none"])
def test_the_configuration_tells_the_pooling_that_was_at_work(
    store: Store, tmp_path: Path, attention: str
) -> None:
    config = quick(store, tmp_path / "run", attention=attention, seeds=(0,), epochs=1)
    run(config)
    told = json.loads((tmp_path / "run" / "config.json").read_text())
    shapes = {level: [*shape] for level, shape in store.layout.level_shapes.items()}
    expected = {
        level: [shapes[level][0], side, side] for level, side in find_sides(config, store).items()
    }
    assert told["inputs"] == expected


@pytest.mark.parametrize(
    "change",
    [
        {"fusion": "residual"},
        {"schedule": "cosine"},
        {"class_weights": True},
        {"task": TaskOptions(ordered=True)},
        {"balanced_sampling": True, "label_smoothing": 0.2, "mixup": 0.5},
        {"taps": ("neck:stage2", "patch:stage2")},
        {"batch_size": 23},  # leaves a last batch of one
    ],
)
def test_every_option_trains(store: Store, tmp_path: Path, change: dict[str, object]) -> None:
    results = run(quick(store, tmp_path / "run", seeds=(0,), epochs=1, **change))
    assert 0 <= results.members[0].scores["auc"] <= 1


def test_the_order_of_grades_is_told_before_they_are_trained_on(
    run_extract: Extract, tmp_path: Path
) -> None:
    """Of a folder it is the alphabet's, which few grades' names follow."""
    colours = np.random.default_rng(0).integers(0, 255, (3, 6, 3), dtype=np.uint8)
    for grade, own in zip(("[none]", "mild", "severe"), colours, strict=True):
        for split in ("train", "val", "test"):
            folder = tmp_path / "fundus" / split / grade
            folder.mkdir(parents=True)
            for number, colour in enumerate(own.reshape(-1, 3)):
                Image.new("RGB", (8, 8), tuple(colour)).save(folder / f"{split}{number}.png")
    store, _ = run_extract(source=tmp_path / "fundus")
    remarks: list[Remark] = []
    train(
        quick(store, tmp_path / "run", seeds=(0,), epochs=1, task=TaskOptions(ordered=True)),
        remarks.append,
    )
    assert Remark("grades in order: [none] < mild < severe") in remarks


def test_a_training_stops_when_patience_runs_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aucs = iter([0.6, 0.8, 0.7, 0.7, 0.9])
    monkeypatch.setattr(loop._Training, "_validate", lambda *_: (0.5, {"auc": next(aucs)}))
    results = run(quick(store, tmp_path / "run", seeds=(0,), epochs=9, patience=2))
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["val_auc"].tolist() == [0.6, 0.8, 0.7, 0.7]
    assert results.members[0].kept_epoch == 2


def test_the_last_epoch_is_kept_where_it_is_asked_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aucs = iter([0.6, 0.8, 0.7])
    monkeypatch.setattr(loop._Training, "_validate", lambda *_: (0.5, {"auc": next(aucs)}))
    config = quick(store, tmp_path / "run", seeds=(0,), epochs=3, keep="last")
    assert run(config).members[0].kept_epoch == 3
    with pytest.raises(ConfigError, match=r"patience stops a training .* give one of the two"):
        replace(config, patience=2)


def test_an_unfinished_store_trains_on_what_is_committed(store: Store, tmp_path: Path) -> None:
    uncommit(store, 1)
    remarks: list[Remark] = []
    results = train(quick(store, tmp_path / "run", epochs=1), remarks.append)
    assert "8 of 40 images of" in remarks[0].text
    assert results.missing == 8
    assert results.members[0].samples["train"] == 16


def test_copies_across_splits_are_recorded_in_the_results(
    run_extract: Extract, tmp_path: Path
) -> None:
    with np.load(write_npz(tmp_path / "leak.npz")) as file:
        arrays = dict(file)
    arrays["test_images"][3] = arrays["train_images"][2]
    np.savez(tmp_path / "leak.npz", **arrays)
    store, _ = run_extract(source=tmp_path / "leak.npz")
    run(quick(store, tmp_path / "run", epochs=1, seeds=(0,)))
    (leak,) = json.loads((tmp_path / "run" / "results.json").read_text())["leaks"]
    assert leak["ids"] == ["train/000002", "test/000003"]


def test_patients_in_two_splits_are_told_with_every_result(
    run_extract: Extract, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    lines = ["file,class,split,patient"]
    for number in range(24):
        draw(images / f"{number}.png", number)
        split = ("train", "train", "val", "test")[number % 4]
        lines.append(f"{number}.png,{'ab'[number // 4 % 2]},{split},p{number // 2}")
    (images / "labels.csv").write_text("\n".join(lines) + "\n")
    reading = SourceOptions(group="patient")
    parted, _ = run_extract(source=images / "labels.csv", reading=reading, allow_split_groups=True)
    options = {"seeds": (0,), "epochs": 1, "attention": "none"}
    results = run(quick(parted, tmp_path / "run", **options))
    assert results.parted_groups == 6, "every second pair is one of val and test"
    assert "warning: 6 groups (patients) occur in more than one split" in text_of(
        describe_results(results)
    )
    folds = run(quick(parted, tmp_path / "folds", **options, folds=2))
    assert folds.parted_groups == 0, "folds keep them whole"
    assert "warning" not in text_of(describe_results(folds))
