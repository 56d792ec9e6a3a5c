"""The simulation of equally good runs: it finds intervals that promise too much."""

import numpy as np
import pytest
from null_intervals import Setting, draw_runs, measure

from samcache.train.scores import intervals


def test_intervals_of_equally_good_runs_seldom_leave_zero_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    share, width = measure(Setting(156, 1, 5, 0.05), 60, "auc")
    assert share < 0.15
    assert 0.8 < width < 1.6
    monkeypatch.setattr(intervals, "LEVEL", 0.5)
    assert measure(Setting(156, 1, 5, 0.05), 60, "auc")[0] > 0.3


def test_seeds_have_the_spread_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    spreads = [
        run.score_trainings()["auc"].std(ddof=1)
        for _ in range(20)
        for run in draw_runs(Setting(2000, 1, 10, 0.05), rng)
    ]
    assert np.mean(spreads) == pytest.approx(0.05, rel=0.2)
