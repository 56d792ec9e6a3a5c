"""The paper's experiment: its targets, its page, and that its commands exist."""

import re
from pathlib import Path

import pandas as pd
import pytest
from experiment import ARMS, Experiment
from experiment_page import COLUMNS, SHOWN, page
from extraction import command as words
from verdicts import saving, verdicts

from samcache.cli import cli
from samcache.train.config import make_command

PAPER = Path(__file__).parents[2] / "benchmarks" / "paper"
PAGE = Path(__file__).parents[2] / "benchmarks" / "experiment.md"
RESULTS = Path(__file__).parents[2] / "docs" / "results.md"


def differences(**values: tuple[float, float, float]) -> pd.DataFrame:
    """Made-up rows, ``set_arm`` = difference, low, high."""
    rows = []
    for name, (mean, low, high) in values.items():
        dataset, minus = name.split("_")
        place = {"dataset": dataset, "arm": "slca", "minus": minus, "fraction": 1.0}
        figures = {"metric": "auc", "p": 0.5}
        rows.append({**place, **figures, "difference": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


AHEAD, UNDECIDED = (0.02, 0.01, 0.03), (0.02, -0.01, 0.05)


def told(scores: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    return verdicts(scores, table, Experiment.datasets)


@pytest.mark.parametrize(
    ("given", "none", "controls"),
    [
        ({"breastmnist_none": AHEAD}, "not known yet", "not known yet"),
        ({"breastmnist_none": AHEAD, "isic2017_none": AHEAD}, "reached", "not known yet"),
        ({"breastmnist_none": UNDECIDED, "isic2017_none": UNDECIDED}, *["not reached"] * 2),
        (
            {
                f"{name}_{arm}": UNDECIDED if (name, arm) == ("isic2017", "random") else AHEAD
                for name in ("breastmnist", "isic2017", "retinamnist")
                for arm in ("none", "shuffled", "random")
            },
            "reached",
            "reached",
        ),
        (
            {
                "breastmnist_none": AHEAD,
                "retinamnist_none": AHEAD,
                "isic2017_none": UNDECIDED,
                "breastmnist_random": UNDECIDED,
            },
            "reached",
            "not reached",
        ),
    ],
)
def test_a_target_is_reached_missed_or_open_by_its_intervals(
    given: dict[str, tuple[float, float, float]], none: str, controls: str
) -> None:
    empty = pd.DataFrame(columns=["dataset", "arm", "fraction", "metric", "mean"])
    first, second, *_ = told(empty, differences(**given))

    assert f"**{none}**" in first
    assert f"**{controls}**" in second


def test_a_missed_target_is_told_with_its_figure() -> None:
    lines = [("breastmnist", "slca", 1.0, "auc", 0.9199), ("retinamnist", "slca", 1.0, "auc", 0.8)]
    scores = pd.DataFrame(lines, columns=["dataset", "arm", "fraction", "metric", "mean"])
    *_, breast, retina, accuracy = told(scores, differences(breastmnist_none=AHEAD))

    assert breast.endswith("**not reached** (0.920)")
    assert retina.endswith("**reached** (0.800)")
    assert accuracy.endswith("**not known yet**")


def test_the_saving_is_the_least_share_that_is_enough() -> None:
    lines = [
        *[("breastmnist", "none", 1.0, 0.8), ("breastmnist", "none", 0.25, 0.9)],
        *[("breastmnist", "slca", share, auc) for share, auc in ((1.0, 0.9), (0.5, 0.85))],
        *[("breastmnist", "slca", share, auc) for share, auc in ((0.25, 0.8), (0.1, 0.79))],
        *[("retinamnist", "none", 1.0, 0.8), ("retinamnist", "slca", 0.5, 0.7)],
        *[("isic2017", "none", 1.0, 0.8), ("isic2017", "slca", 1.0, 0.9)],
    ]
    scores = pd.DataFrame(lines, columns=["dataset", "arm", "fraction", "mean"])
    told = saving(scores.assign(metric="auc"), Experiment.datasets)
    assert told == "BreastMNIST 25% (0.800, with all 0.800); RetinaMNIST no share"


def test_the_page_names_what_is_missing(tmp_path: Path) -> None:
    """All arms of one set, and one of the two curves that are compared."""
    runs = [(arm, 1.0) for arm in ARMS] + [("slca", 0.5)]
    lines = [("breastmnist", *run, metric, 0.8, 0.0, 0.7, 0.9) for run in runs for metric in SHOWN]
    scores = pd.DataFrame(lines, columns=list(COLUMNS["scores"]))
    scores.to_csv(tmp_path / "scores.csv", index=False)
    told = "**Still missing: BreastMNIST (fewer training images); RetinaMNIST; ISIC 2017.**"
    assert told in page(tmp_path)


def test_both_arms_have_as_many_candidates_and_every_command_is_one() -> None:
    experiment = Experiment()
    counts = {arm: len(named) for arm, named in experiment.candidates.items()}
    assert counts["none"] == counts["slca"] > 1
    train = cli.commands["train"]
    for arm in ARMS:
        for name in experiment.candidates.get(arm, experiment.candidates["slca"]):
            words = make_command(experiment.setting(experiment.datasets[1], arm, name))
            train.make_context("train", words[2:])


def test_the_stores_are_extracted_by_a_command_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMCACHE_DATA", str(tmp_path))
    monkeypatch.setenv("SAMCACHE_WEIGHTS", str(tmp_path))
    (tmp_path / "mobile_sam.pt").touch()
    (tmp_path / "breastmnist.npz").touch()
    name, *rest = words(Experiment.datasets[0], tmp_path / "breastmnist.zarr")

    given = cli.commands[name].make_context(name, rest).params
    assert (given["encoder"], given["image_size"]) == ("vit_t", 1024)


def test_the_figures_of_the_short_page_are_those_of_the_full_log() -> None:
    shown = re.findall(r"[+-]?\d+\.\d+", RESULTS.read_text("utf-8"))
    log = PAGE.read_text("utf-8")
    assert len(shown) > 50
    assert [figure for figure in shown if figure not in log] == []


def test_the_page_is_that_of_the_committed_results() -> None:
    assert PAGE.read_text("utf-8") == page(PAPER / "results")
