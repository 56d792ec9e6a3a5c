"""A probe finds what a level's features hold, and nothing where they hold nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from shown import text_of
from tiny_extraction import Extract, write_npz

from samcache.cache.store import Store
from samcache.commands.show.trainings import describe_probe
from samcache.train.probe import probe


@pytest.fixture
def store(run_extract: Extract, tmp_path: Path) -> Store:
    source = write_npz(tmp_path / "more.npz", (60, 30, 30))
    return run_extract(source=source, frame_size=0)[0]  # no images are needed


def test_every_level_is_probed_by_both_and_brightness_is_found(store: Store) -> None:
    results = probe(store)
    levels = [*store.identity.levels, "all", "+spread"]
    expected = [(level, kind) for level in levels for kind in ("logistic", "kNN")]
    assert [(row.level, row.probe) for row in results.scores] == expected
    assert max(row.test["auc"].value for row in results.scores) > 0.95
    for row in results.scores:
        auc = row.test["auc"]
        assert auc.interval is not None
        assert auc.interval.low <= auc.value <= auc.interval.high
    assert results.majority == 0.5
    assert json.loads(json.dumps(results.to_json()))["samples"]["train"] == 60
    lines = text_of(describe_probe(results)).splitlines()
    assert len(lines) == 3 + 14
    assert max(map(len, lines)) <= 80


def test_features_that_hold_nothing_score_as_chance(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    real = Store.read

    def noise(self: Store, path: str, start: int, stop: int) -> np.ndarray:
        assert path == "statistics", "no map needs to be read"
        return rng.random(real(self, path, start, stop).shape, dtype=np.float32)

    monkeypatch.setattr(Store, "read", noise)
    results = probe(store)
    assert np.mean([row.test["auc"].value for row in results.scores]) < 0.7
