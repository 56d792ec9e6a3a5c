"""Subgroups show where a run fails: in results, on the terminal, in the report, in evaluate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from quick_training import quick
from shown import text_of
from tiny_extraction import Extract
from trained_run import samcache

from samcache.cache.store import Store
from samcache.commands.show.trainings import describe_results
from samcache.train.report.checks.finding import CAUTION
from samcache.train.report.page import write_report
from samcache.train.run import train
from samcache.train.runs.write_run import Results
from samcache.train.scores.intervals import Interval, Summary
from samcache.train.scores.subgroups import Subgroup, find_largest_gap
from samcache.train.tasks.options import TaskOptions

_COUNTS = {"train": 60, "val": 20, "test": 100}


@pytest.fixture
def failing(run_extract: Extract, tmp_path: Path) -> tuple[Store, Path, Results]:
    """A store where the images of site b are noise, its table, and the results of a run."""
    store, _ = run_extract("sites", source=_draw_sites(tmp_path / "sites.npz"))
    labels, place = store.samples["label"].to_numpy(), np.arange(len(store.samples))
    sites = np.where(place % 4 < 2, "a", "b")
    table = pd.DataFrame({"file": store.samples["id"], "side": np.array(["no", "yes"])[labels]})
    table.assign(site=sites).to_csv(tmp_path / "labels.csv", index=False)
    task = TaskOptions(labels=tmp_path / "labels.csv", target=("side",), by=("site",))
    torch.set_num_threads(1)
    config = quick(
        store, tmp_path / "run", task=task, epochs=6, seeds=(0,), attention="none", join=True,
        lr=1e-2,
    )  # fmt: skip
    return store, tmp_path / "run", train(config)


def _draw_sites(path: Path) -> Path:
    """Two classes, of which the second is brighter at site a, the first two of every four."""
    rng, arrays = np.random.default_rng(7), {}
    for split, count in _COUNTS.items():
        labels, place = np.arange(count) % 2, np.arange(count)
        pixels = rng.integers(0, 120, (count, 20, 20))
        pixels += (80 * (labels * (place % 4 < 2)))[:, None, None]
        arrays |= {f"{split}_images": pixels.astype(np.uint8), f"{split}_labels": labels[:, None]}
    np.savez(path, **arrays)
    return path


def test_a_planted_failure_is_seen_everywhere(
    failing: tuple[Store, Path, Results], tmp_path: Path
) -> None:
    store, run, results = failing
    gap = find_largest_gap(results.subgroups, "auc")
    assert gap is not None
    assert (gap.low.value, gap.high.value) == ("b", "a")
    assert gap.size > 0.2
    assert gap.is_clear
    shown = text_of(describe_results(results))
    assert [line.split()[:3] for line in shown.splitlines() if line[:2] in ("a ", "b ")] == [
        ["a", "50", "25"], ["b", "50", "25"],
    ]  # fmt: skip
    said = f"AUC {gap.describe('AUC')[4:]}"
    assert f"largest gap: {said}" in shown
    written = write_report((run,), None, None, tmp_path / "page.html")
    warned = [finding.title for finding in written.findings if finding.kind == CAUTION]
    assert "The AUC differs between subgroups" in warned
    page = (tmp_path / "page.html").read_text()
    assert f"Largest gap: {said}." in page
    assert page.index("The AUC differs between subgroups") < page.index("Test result")
    table = tmp_path / "labels.csv"
    again = samcache("evaluate", run, store.location, "--labels", table, "--out", tmp_path / "e")
    assert again.exit_code == 0, again.output
    assert f"largest gap: {said}" in again.stdout, "the columns of the run's subgroups"
    assert "by_site" in pd.read_csv(tmp_path / "e" / "predictions.csv")
    other = tmp_path / "other.csv"
    pd.read_csv(table).rename(columns={"site": "hospital"}).to_csv(other, index=False)
    words = ["evaluate", run, store.location, "--labels", other]
    assert "largest gap" not in samcache(*words).stdout
    assert "hospital b" in samcache(*words, "--by", "hospital").stdout


def _make_group(column: str, value: str, mean: float | None) -> Subgroup:
    metrics = None
    if mean is not None:
        metrics = {"auc": Summary(mean, None, Interval(mean - 0.1, mean + 0.1, 9))}
    return Subgroup(column, value, 20, 10, 10, metrics)


@pytest.mark.parametrize(
    ("groups", "named", "clear"),
    [
        ((("x", "a", 0.9), ("x", "b", 0.8), ("y", "c", 0.1)), ("b", "a"), False),
        ((("x", "a", 0.9), ("x", "b", 0.8), ("y", "c", 0.5), ("y", "d", 0.8)), ("c", "d"), True),
        ((("x", "a", 0.9), ("x", "b", None)), None, False),
    ],
)
def test_a_gap_is_one_between_values_of_one_column(
    groups: tuple[tuple[str, str, float | None], ...],
    named: tuple[str, str] | None,
    clear: bool,
) -> None:
    gap = find_largest_gap([_make_group(*group) for group in groups], "auc")
    assert (gap and (gap.low.value, gap.high.value)) == named
    assert (gap is not None and gap.is_clear) == clear
