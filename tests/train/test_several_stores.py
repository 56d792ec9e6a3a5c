"""Several stores of the same images are probed side by side, and trained on together."""

import io
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick_training import quick
from shown import text_of
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import Extract
from trained_run import one_line, samcache

from samcache.api.run import load_run
from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.commands.show.probed_stores import describe_probed_stores
from samcache.train.config import TrainConfig, make_command
from samcache.train.data.joined_store import JoinedStore, name_stores
from samcache.train.evaluate import evaluate
from samcache.train.probe import probe
from samcache.train.probes.stores import ALL_STORES, StoreScores, probe_stores
from samcache.train.run import train
from samcache.train.runs.ensemble import open_predictor
from samcache.train.runs.run import open_run
from samcache.train.runs.store import open_run_store, open_stores_of_features
from samcache.train.tasks.options import TaskOptions

Pair = tuple[Store, Store]
TAPS = ("one/late:stage3", "two/neck:stage4")


def write_changed(source: Path, out: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of an .npz with some arrays changed."""
    with np.load(source) as arrays:
        changed = {name: changes.get(name, np.asarray)(arrays[name]) for name in arrays}
    np.savez(out, **changed)
    return out


@pytest.fixture
def extract_other(run_extract: Extract, npz: Path, tmp_path: Path) -> Callable[..., Store]:
    """Extract images of the same file, with changes, by another encoder and other settings."""
    weights = save_tiny_checkpoint(tmp_path / "other.pth", seed=5)

    def extract(name: str = "two", options: dict[str, Any] | None = None, **changes: Any) -> Store:
        source = write_changed(npz, tmp_path / f"{name}.npz", **changes)
        given = {"pool": 1, "dtype": "float32", "shard_rows": 5, "levels": ("late", "neck")}
        given |= {"source": source, "checkpoint": weights, **(options or {})}
        return run_extract(name, **given)[0]

    return extract


def turn(values: np.ndarray) -> np.ndarray:
    return values[::-1]


@pytest.fixture
def pair(run_extract: Extract, extract_other: Callable[..., Store]) -> Pair:
    """The same images in other orders, so that their ids are other images' too."""
    return run_extract("one")[0], extract_other(train_images=turn, train_labels=turn)


def join(*stores: Store) -> JoinedStore:
    return JoinedStore(name_stores([store.location for store in stores]), stores)


def configure(stores: Pair, out: Path, **changes: object) -> TrainConfig:
    return quick(stores[0], out, more_stores=(stores[1].location,), **changes)


def read_predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")


# how stores are joined


def test_each_image_has_the_maps_of_its_own_row_in_every_store(pair: Pair) -> None:
    joined = join(*pair)
    rows = joined.rows_of_parts[1]
    assert rows[:24].tolist() == list(range(23, -1, -1))
    assert joined.identity.levels[-2:] == ("two/late", "two/neck")
    for level in ("late", "neck"):
        expected = pair[1].read_features(level, 0, 40)[rows[3:27]]
        np.testing.assert_array_equal(joined.read_features(f"two/{level}", 3, 27), expected)
    wanted = np.array([1, 2, 30])
    found, own = joined.read_moments(wanted)["two/neck"], pair[1].read_moments(rows[wanted])["neck"]
    np.testing.assert_array_equal(found.mean, own.mean)


def test_images_of_one_store_alone_are_left_out_and_counted(
    run_extract: Extract, extract_other: Callable[..., Store], tmp_path: Path
) -> None:
    kept = {"train_images": lambda v: v[2:], "train_labels": lambda v: v[2:]}
    first, second = run_extract("one")[0], extract_other(**kept)
    joined = join(first, second)
    assert joined.describe_join() == "38 images in all of one, two; left out: 2 of one"
    assert joined.samples["id"].tolist() == first.samples["id"].tolist()[2:]
    train(configure((first, second), tmp_path / "run", taps=TAPS))
    assert open_run(tmp_path / "run").results["members"][0]["samples"]["train"] == 22


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (["a/x.zarr", "s3://team/b/y-2.zarr"], ("x", "y-2")),
        (["a/x.v1.zarr/", "https://host/my%20store"], ("x-v1", "my-20store")),
        (["a/x.zarr", "b/x.zarr"], None),
        (["a/x y", "a/x:y.zarr"], None),
    ],
)
def test_levels_are_named_by_plain_names_that_differ(
    locations: list[str], names: tuple[str, ...] | None
) -> None:
    if names is not None:
        assert name_stores(locations) == names
        return
    with pytest.raises(ConfigError, match="are both named"):
        name_stores(locations)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"test_labels": lambda v: 1 - v}, "disagree on the label of 8 images, such as test"),
    "images": ({f"{s}_images": lambda v: 255 - v for s in ("train", "val", "test")}, "no image is"),
    "views": ({"options": {"views": "flips"}}, "hold other views"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_stores_that_do_not_belong_together_are_refused(
    run_extract: Extract, extract_other: Callable[..., Store], tmp_path: Path, case: str
) -> None:
    changes, message = REFUSED[case]
    pair = run_extract("one")[0], extract_other(**changes)
    with pytest.raises(ConfigError, match=message):
        train(configure(pair, tmp_path / "run", taps=TAPS))
    assert not (tmp_path / "run").exists()


def test_labels_and_splits_of_a_table_count_where_stores_disagree(
    run_extract: Extract, extract_other: Callable[..., Store], tmp_path: Path
) -> None:
    first, second = run_extract("one")[0], extract_other(test_labels=lambda v: 1 - v)
    table = first.samples[["id"]].assign(side=np.arange(40) % 2)
    table.to_csv(tmp_path / "sides.csv", index=False)
    asked = TaskOptions(labels=tmp_path / "sides.csv", target=("side",))
    assert probe_stores(join(first, second), asked).samples["test"] == 8
    with pytest.raises(ConfigError, match="label"):
        probe_stores(join(first, second))
    with pytest.raises(ConfigError, match="are both named"):
        join(first, first)


# training


OPTIONS: dict[str, dict[str, Any]] = {
    "joined head": {"taps": ("late:stage3", "neck:stage4"), "join": True},
    "control": {"taps": ("neck:stage4",), "attention": "shuffled"},
    "folds": {"taps": ("neck:stage4",), "kernel": 2, "folds": 2},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_store_that_is_not_tapped_changes_no_number(
    pair: Pair, tmp_path: Path, case: str
) -> None:
    train(quick(pair[0], tmp_path / "alone", **OPTIONS[case]))
    taps = tuple(f"one/{tap}" for tap in OPTIONS[case]["taps"])
    train(configure(pair, tmp_path / "both", **{**OPTIONS[case], "taps": taps}))
    alone, both = (read_predictions(tmp_path / name) for name in ("alone", "both"))
    pd.testing.assert_frame_equal(alone, both, check_exact=True)


@pytest.fixture
def run(pair: Pair, tmp_path: Path) -> Path:
    train(configure(pair, tmp_path / "run", join=True))
    return tmp_path / "run"


def test_a_run_of_several_stores_predicts_from_such_stores(
    pair: Pair, run: Path, tmp_path: Path
) -> None:
    trained = open_run(run)
    expected = {f"{s.name}/{level}" for s in trained.used_stores for level in s.identity.levels}
    assert set(trained.design.taps) == expected - {"two/patch"}
    shapes = {name: shape for name, shape in trained.inputs.items() if "spread" not in name}
    assert set(shapes) == set(trained.design.taps)
    own = read_predictions(run)
    own = own[own["split"] == "test"].groupby("id")[["p_0", "p_1"]].mean()
    for number, order in enumerate((pair, pair[::-1])):  # under other names, in any order
        copies = [tmp_path / f"{number}-{place}" for place in range(2)]
        for store, copy in zip(order, copies, strict=True):
            shutil.copytree(store.location, copy)
        result = samcache("predict", run, *copies)
        assert result.exit_code == 0, result.output
        assert "40 images in all of one, two" in result.stderr
        found = pd.read_csv(io.StringIO(result.stdout), index_col="id").loc[own.index]
        np.testing.assert_allclose(found[["p_0", "p_1"]], own, atol=1e-5)
    stores = [store.location for store in pair]
    again = load_run(run, device="cpu").predict(stores, split="test").set_index("id")
    np.testing.assert_allclose(again.loc[own.index, ["p_0", "p_1"]], own, atol=1e-5)
    opened = open_predictor(run)
    evaluation, _ = evaluate(opened, open_stores_of_features(opened, stores), "test", "cpu")
    recorded = trained.results["fractions"][0]["ensemble"]["auc"]["mean"]
    assert evaluation.ensemble["auc"].mean == pytest.approx(recorded, abs=1e-6)


def test_what_needs_one_store_is_refused_in_a_line(pair: Pair, run: Path, npz: Path) -> None:
    one, two = (store.location for store in pair)
    needs_both = "was trained from 2 stores, one, two, and 1 store is given"
    refused = {
        needs_both: [("predict", run, one), ("evaluate", run, two)],
        "holds other features": [("predict", run, one, f"{one}/../one.zarr")],
        "extract the images with": [("predict", run, npz)],
        "train a run from one store": [("export", run)],
        "name no store": [("report", run, "--store", one)],
    }
    for message, commands in refused.items():
        for words in commands:
            result = samcache(*words)
            assert result.exit_code != 0
            assert message in one_line(result), words


def test_a_report_finds_every_store_and_a_moved_run_too(
    pair: Pair, run: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in (run, *(Path(store.location) for store in pair)):
        folder.rename(moved / folder.name)
    found = open_run_store(open_run(moved / "run"))
    assert [Path(part.location).name for part in found.parts] == ["one.zarr", "two.zarr"]
    result = samcache("report", moved / "run", "--out", tmp_path / "r.html")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    page = (tmp_path / "r.html").read_text()
    assert page.count("samcache extract SOURCE") == 2


def test_a_command_gives_every_store_and_the_run_records_them(pair: Pair, tmp_path: Path) -> None:
    config = configure(pair, tmp_path / "run", taps=TAPS)
    words = make_command(config)
    assert words[1:4] == ["train", pair[0].location, pair[1].location]
    result = samcache(*words[1:], "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "40 images in all of one, two" in result.stderr
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [store["fingerprint"] for store in recorded["stores"]] == [
        store.fingerprint for store in pair
    ]
    assert recorded["more_stores"] == [pair[1].location]
    fingerprints = {join(*pair).fingerprint, join(*pair[::-1]).fingerprint, pair[0].fingerprint}
    assert recorded["fingerprint"] in fingerprints
    assert len(fingerprints) == 3  # a run is resumed with the same stores in the same order
    assert "more_stores" not in quick(pair[0], tmp_path / "alone").to_json()


def test_a_sweep_reads_several_stores(pair: Pair, tmp_path: Path) -> None:
    words = ["--trials", 1, "--epochs", 1, "--image-size", 32, "--batch-size", 8]
    words += ["--backbone", "timm:test_resnet", "--taps", ",".join(TAPS), "--device", "cpu"]
    stores = [store.location for store in pair]
    result = samcache("sweep", *stores, "--out", tmp_path / "sweep", *words)
    assert result.exit_code == 0, result.output
    assert " ".join(["samcache train", *stores]) in result.stdout.replace("\n", " ")


def test_stores_behind_a_web_server_give_what_local_stores_give(
    pair: Pair, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMCACHE_STAGE", str(tmp_path / "stage"))
    config = configure(pair, tmp_path / "local", taps=TAPS)
    train(config)
    urls = tuple(f"{web}/{name}.zarr" for name in ("one", "two"))
    far = replace(config, store=urls[0], more_stores=urls[1:], out=tmp_path / "far")
    train(far)
    for predictions in (read_predictions, lambda run: load_run(run, device="cpu").predict(urls)):
        near, there = (predictions(tmp_path / name) for name in ("local", "far"))
        pd.testing.assert_frame_equal(near, there, check_exact=True)
    assert [used.place["store"] for used in open_run(tmp_path / "far").used_stores] == list(urls)


# probing


def test_probes_of_several_stores_are_those_of_each_and_paired(pair: Pair, tmp_path: Path) -> None:
    drawn = np.random.default_rng(3).permutation(np.arange(40) % 2)  # nothing that is easy to learn
    table = pair[0].samples[["sha256"]].assign(side=drawn)
    table.to_csv(tmp_path / "sides.csv", index=False)
    asked = TaskOptions(labels=tmp_path / "sides.csv", target=("side",))
    found = probe_stores(join(*pair), asked)
    each: dict[str, dict[tuple[str, str], StoreScores]] = defaultdict(dict)
    for one in found.scores:
        each[one.store][one.scores.level, one.scores.probe] = one
    assert [one.scores for one in each["one"].values()] == probe(pair[0], asked).scores
    for alone in probe(pair[1], asked).scores:
        one, reference = (each[name][alone.level, alone.probe] for name in ("two", "one"))
        for metric, tested in alone.test.items():
            value = one.scores.test[metric].value
            assert value == pytest.approx(tested.value, abs=1e-3)
            difference = one.differences[metric]
            assert difference.mean == pytest.approx(value - reference.scores.test[metric].value)
            assert difference.interval is not None
    assert list(each[ALL_STORES]) == [("all", "logistic"), ("all", "kNN")]
    text = text_of(describe_probed_stores(found))
    assert len(text.splitlines()) == 3 + len(found.scores) + 2
    result = samcache("probe", *(store.location for store in pair), "--json")
    assert json.loads(result.stdout)["scores"][-1]["store"] == ALL_STORES
