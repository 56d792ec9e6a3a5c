"""TensorBoard finds every epoch of every member."""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from killed_train import config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.train.fit.tensorboard import open_event_writer
from samcache.train.run import train


def test_events_are_those_of_metrics_csv(run_extract: Extract, tmp_path: Path) -> None:
    store, out = run_extract()[0], tmp_path / "run"
    train(replace(config(store.location, str(out)), tensorboard=True))
    metrics = pd.read_csv(out / "metrics.csv")
    for seed in (0, 1):
        events = EventAccumulator(str(out / "tensorboard" / f"seed-{seed}")).Reload()
        lines = metrics[metrics["seed"] == seed]
        for curve in ("train_loss", "val_auc"):
            found = events.Scalars(curve)
            assert [event.step for event in found] == [1, 2, 3]
            assert [event.value for event in found] == pytest.approx(lines[curve].tolist())


def test_a_run_that_begins_anew_keeps_no_events_of_the_one_before(
    run_extract: Extract, tmp_path: Path
) -> None:
    store, out = run_extract()[0], tmp_path / "run"
    once = replace(config(store.location, str(out)), tensorboard=True, seeds=(0,))
    train(once)
    train(replace(once, epochs=2, overwrite=True))
    events = EventAccumulator(str(out / "tensorboard" / "seed-0")).Reload()
    assert [event.step for event in events.Scalars("lr")] == [1, 2]


def test_without_the_extra_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'samcache\[tensorboard\]'"):
        open_event_writer(tmp_path)
