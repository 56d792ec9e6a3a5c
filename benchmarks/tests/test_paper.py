"""The paper's experiment in small: test has no part in the choice, and the page tells what is."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import choosing
import extraction
import numpy as np
import pandas as pd
import pytest
import torch
import training
from choosing import COLUMNS, chosen, score_candidates, untested_members
from experiment import Dataset, Experiment, options
from experiment_page import page, read_tables
from figures import draw_figures
from tables import write_tables
from tiny_extraction import write_npz
from trained_run import samcache as command
from training import train_runs

from samcache.cache.store import Store
from samcache.commands.options import Device
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "benchmarks" / "paper"
SMALL = {"backbone": "timm:resnet10t", "batch_size": 8, "epochs": 1}
CANDIDATES = {
    "none": {"a": {}, "b": {"lr": 3e-3}},
    "slca": {"a": {"kernel": 2}, "b": {"fusion": "residual"}},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread_without_a_gpu() -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Device, "convert", lambda *_: "cpu")
        yield


@pytest.fixture(scope="module")
def toy() -> Any:
    """The experiment on one data set of forty images, with two candidates an arm."""
    toys = (Dataset("toy", "Toy", "toy.npz", 32),)
    return Experiment(toys, SMALL, CANDIDATES, folds=3, seeds=(0, 1), fractions=(0.5,))


@pytest.fixture(scope="module")
def scored(toy: Any, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a store and every candidate's scores; nobody changes it."""
    return scored_below(tmp_path_factory.mktemp("scored"), toy, checkpoint)


def scored_below(work: Path, toy: Any, checkpoint: Path, scrambled: bool = False) -> Path:
    """Extract the toy's images, those of test scrambled if asked, and score the candidates."""
    source = write_npz(work / "toy.npz")
    arrays = dict(np.load(source))
    rng = np.random.default_rng(1)
    for split in ("train", "val", "test"):  # hard to tell apart, so that scores differ
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"][:, :, None]
        images += rng.integers(0, 75, labels.shape, dtype=np.uint8) - 40 * labels
    if scrambled:
        shape = arrays["test_images"].shape
        arrays["test_images"] = rng.integers(0, 255, shape, dtype=np.uint8)
        arrays["test_labels"] = 1 - arrays["test_labels"]
    np.savez(source, **arrays)
    options = ExtractOptions(source, work / "toy.zarr", "vit_tiny", checkpoint, pool=2)
    extract(options)
    score_candidates(toy, toy.datasets[0], work)
    return work


def choices(work: Path) -> pd.DataFrame:
    return pd.read_csv(work / "choices.csv").drop(columns="seconds")


def test_the_scores_of_candidates_are_the_same_whatever_the_test_rows_hold(
    scored: Path, toy: Any, checkpoint: Path, tmp_path: Path
) -> None:
    other = scored_below(tmp_path, toy, checkpoint, scrambled=True)

    pd.testing.assert_frame_equal(choices(other), choices(scored))
    assert choices(scored)["auc"].nunique() > 1, "these scores would not tell"


def test_no_member_of_the_choice_has_a_test_row_and_each_other_row_is_held_out_once(
    scored: Path,
) -> None:
    store = Store(scored / "toy.zarr")
    split = store.samples["split"].to_numpy()
    members = untested_members(store, 3)

    for member in members:
        parts = torch.cat([member.train, member.val, member.test])
        assert len(parts) == len(set(parts.tolist())) == (split != "test").sum()
        assert "test" not in split[parts.numpy()]
    held_out = torch.cat([member.test for member in members])
    assert sorted(held_out.tolist()) == np.flatnonzero(split != "test").tolist()


def test_an_interrupted_choice_goes_on_and_scores_nothing_twice(
    scored: Path, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(scored / "toy.zarr", tmp_path / "toy.zarr")
    trained, whole = [], choosing.train_member

    def killed_at_the_fifth(*given: Any) -> Any:
        trained.append(given)
        if len(trained) == 5:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(choosing, "train_member", killed_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        choosing.score_candidates(toy, toy.datasets[0], tmp_path)
    assert len(choices(tmp_path)) == 4
    choosing.score_candidates(toy, toy.datasets[0], tmp_path)
    choosing.score_candidates(toy, toy.datasets[0], tmp_path)

    assert len(trained) == 2 * 2 * 3 + 1
    pd.testing.assert_frame_equal(choices(tmp_path), choices(scored))


def write_choices(work: Path, toy: Any, aucs: dict[str, list[float]]) -> None:
    """Made-up scores of SLCA's candidates."""
    lines = [
        ["toy", "slca", name, options(toy.setting(toy.datasets[0], "slca", name)), fold, auc, 0, 0]
        for name, folds in aucs.items()
        for fold, auc in enumerate(folds)
    ]
    pd.DataFrame(lines, columns=list(COLUMNS)).to_csv(work / "choices.csv", index=False)


def test_the_best_mean_is_chosen_and_a_control_takes_it(toy: Any, tmp_path: Path) -> None:
    write_choices(tmp_path, toy, {"a": [0.99, 0.1, 0.1], "b": [0.5, 0.5, 0.5]})
    assert chosen(toy, toy.datasets[0], "slca", tmp_path) == "b"
    assert chosen(toy, toy.datasets[0], "shuffled", tmp_path) == "b"
    assert toy.setting(toy.datasets[0], "shuffled", "b").fusion == "residual"
    assert toy.setting(toy.datasets[0], "head", "b").fusion == "gate", "it has no gates"


def test_the_published_choices_are_found_among_the_published_scores() -> None:
    experiment = Experiment()
    for dataset in experiment.datasets:
        for arm, candidates in experiment.candidates.items():
            assert chosen(experiment, dataset, arm, PAPER / "results") in candidates


def test_nothing_is_chosen_before_every_candidate_is_scored(toy: Any, tmp_path: Path) -> None:
    write_choices(tmp_path, toy, {"a": [0.9, 0.9, 0.9], "b": [0.5, 0.5]})
    with pytest.raises(SystemExit, match="candidate b is scored on 2 of 3 folds"):
        chosen(toy, toy.datasets[0], "slca", tmp_path)
    write_choices(tmp_path, toy, {"a": [0.9, 0.9, 0.9], "b": [0.5, 0.5, 0.5]})
    changed = {**CANDIDATES, "slca": {**CANDIDATES["slca"], "b": {"kernel": 4}}}
    with pytest.raises(SystemExit, match="candidate b is scored on 0 of 3 folds"):
        chosen(replace(toy, candidates=changed), toy.datasets[0], "slca", tmp_path)


@pytest.fixture(scope="module")
def trained(scored: Path, toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder with every run finished, each begun once."""
    work = tmp_path_factory.mktemp("trained-paper") / "work"
    shutil.copytree(scored, work)
    begun = []

    def in_this_process(words: list[str], folder: Path) -> None:
        begun.append(words)
        here = Path.cwd()
        os.chdir(folder)
        try:
            result = command(*words)
        finally:
            os.chdir(here)
        assert result.exit_code == 0, result.output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "samcache", in_this_process)
        training.train_runs(toy, toy.datasets, work)
        training.train_runs(toy, toy.datasets, work)
    assert len(begun) == 7 + 2
    return work


def test_a_run_that_was_begun_with_other_options_is_not_passed_off_as_the_chosen_one(
    trained: Path, toy: Any
) -> None:
    with pytest.raises(SystemExit, match="was begun with other options"):
        train_runs(replace(toy, seeds=(5,)), toy.datasets, trained)


@pytest.fixture(scope="module")
def results(trained: Path, toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the finished runs."""
    folder = tmp_path_factory.mktemp("results")
    write_tables(toy, trained, folder)
    return folder


@pytest.mark.parametrize(
    ("arm", "minus", "curve"),
    [
        ("slca", "none", ""),
        ("slca", "shuffled", ""),
        ("gates", "none", ""),
        ("slca", "none", "-curve"),
    ],
)
def test_differences_are_those_of_samcache_compare(
    trained: Path, results: Path, arm: str, minus: str, curve: str
) -> None:
    runs = [trained / "runs" / "toy" / f"{arm}{curve}" for arm in (minus, arm)]
    told = pd.read_csv(StringIO(command("compare", *runs, "--format", "csv").output))
    told = told[told["difference"].notna()].set_index("metric")
    table = pd.read_csv(results / "differences.csv")
    fraction = 0.5 if curve else 1.0
    own = table[(table["arm"] == arm) & (table["minus"] == minus)]
    own = own[own["fraction"] == fraction].set_index("metric")

    assert set(own.index) == {"auc", "accuracy"}
    columns = ["difference", "low", "high", "p"]
    figures = told[["difference", "difference_low", "difference_high", "p"]].set_axis(
        columns, axis=1
    )
    pd.testing.assert_frame_equal(own[columns], figures, check_dtype=False, atol=1e-6)
    assert figures.loc["auc", "low"] < figures.loc["auc", "high"], "these would not tell"


def test_tables_hold_every_training_and_the_page_its_means(
    trained: Path, results: Path, toy: Any, tmp_path: Path
) -> None:
    members = pd.read_csv(results / "members.csv")
    assert len(members) == 7 * 2 + 2 * 2
    scores = pd.read_csv(results / "scores.csv")
    full = members[members["fraction"] == 1].groupby("arm")["auc"].mean()
    auc = scores[(scores["metric"] == "auc") & (scores["fraction"] == 1)].set_index("arm")["mean"]
    pd.testing.assert_series_equal(auc.sort_index(), full, check_names=False, atol=1e-6)
    facts = json.loads((results / "facts.json").read_text("utf-8"))
    assert facts["stores"]["toy"]["fingerprint"] == Store(trained / "toy.zarr").fingerprint
    assert facts["stores"]["toy"]["samples"] == {"train": 24, "val": 8, "test": 8}

    text = page(results, toy.datasets)
    assert f"{auc['slca']:.3f} ± " in text
    assert "Not run yet" not in text
    assert "{{" not in text
    assert str(trained) not in text, "the page names a folder of this machine"
    tables = read_tables(results)
    draw_figures(tables["scores"], tables["differences"], toy.datasets, tmp_path)
    for name in ("experiment-differences.svg", "experiment-fractions.svg"):
        assert f"figures/{name}" in text
        assert ">Toy" in (tmp_path / name).read_text("utf-8")


def test_rows_of_runs_that_lie_on_another_machine_stay(
    trained: Path, results: Path, toy: Any, tmp_path: Path
) -> None:
    elsewhere, record = tmp_path / "work", tmp_path / "results"
    shutil.copytree(results, record)
    shutil.copytree(trained, elsewhere)
    for run in (elsewhere / "runs" / "toy").iterdir():
        if run.is_dir() and run.name != "gates":
            shutil.rmtree(run)
    (elsewhere / "choices.csv").unlink()
    scores = pd.read_csv(record / "scores.csv")
    outdated = scores.assign(mean=0.0)
    outdated.to_csv(record / "scores.csv", index=False)

    write_tables(toy, elsewhere, record)

    found = pd.read_csv(record / "scores.csv")
    gates = found["arm"] == "gates"
    pd.testing.assert_frame_equal(found[gates], scores[gates])
    pd.testing.assert_frame_equal(found[~gates], outdated[~gates])
    for table in ("choices.csv", "settings.csv", "members.csv", "facts.json"):
        assert (record / table).read_bytes() == (results / table).read_bytes(), table
    pairs, every = (pd.read_csv(at / "differences.csv") for at in (record, results))
    others = (every["arm"] != "gates") & (every["minus"] != "gates")
    assert 0 < others.sum() < len(every)
    pd.testing.assert_frame_equal(pairs, every[others].reset_index(drop=True))


def test_a_finished_store_is_not_extracted_again(
    scored: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMCACHE_DATA", raising=False)
    extraction.extract_features(toy.datasets[0], scored)
    with pytest.raises(SystemExit, match="SAMCACHE_DATA is not set"):
        extraction.extract_features(replace(toy.datasets[0], name="other"), scored)
