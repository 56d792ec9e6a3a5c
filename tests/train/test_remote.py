"""Both stages over a network: extract into a bucket, train from it, staged once on disk."""

from pathlib import Path

import numpy as np
import pytest
from servers import Failing
from store_content import uncommit
from tiny_extraction import Extract

from samcache.cache.care.verify import verify
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.run import train


def quick(store: str, out: Path) -> tuple[str, float]:
    remarks: list[Remark] = []
    config = TrainConfig(
        store, out, epochs=1, seeds=(0,), image_size=32, batch_size=8, backbone="timm:test_resnet"
    )
    results = train(config, remarks.append)
    return "\n".join(one.text for one in remarks), results.members[0].scores["auc"]


@pytest.mark.slow
def test_a_bucket_behind_a_bad_line_holds_what_a_disk_would(
    run_extract: Extract, s3: str, failing: Failing
) -> None:
    expected, _ = run_extract()
    proxy = failing(0.1, seed=1)
    found, summary = run_extract(store=f"{s3}/toy.zarr")
    assert summary.encoded == 40
    assert proxy.counts.total() > proxy.counts["pass"]
    proxy.share = 0.0
    assert verify(found) == []
    for shard, commit in expected.commits.items():
        assert found.commits[shard].objects == commit.objects
    _, again = run_extract(store=f"{s3}/toy.zarr")
    assert again.encoded == 0


def test_training_from_a_bucket_stages_it_once(
    run_extract: Extract,
    s3: str,
    failing: Failing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAMCACHE_STAGE", str(tmp_path / "stage"))
    local, _ = run_extract()
    run_extract(store=f"{s3}/toy.zarr")
    proxy = failing(0.05, seed=2)
    told, auc = quick(f"{s3}/toy.zarr", tmp_path / "first")
    assert f"staging {s3}/toy.zarr" in told
    assert auc == quick(local.location, tmp_path / "local")[1]
    proxy.share, requests = 0.0, proxy.counts.total()
    told, again = quick(f"{s3}/toy.zarr", tmp_path / "second")
    assert "using the staged copy" in told
    assert again == auc
    assert proxy.counts.total() - requests < 20, "records and listings alone"


def test_a_bucket_may_grow_while_it_is_trained_from(
    run_extract: Extract, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMCACHE_STAGE", str(tmp_path / "stage"))
    run_extract(store=f"{s3}/toy.zarr")
    store = Store(f"{s3}/toy.zarr")
    uncommit(store, 1)
    told, _ = quick(store.location, tmp_path / "half")
    assert "warning: 8 of 40 images" in told
    run_extract(store=f"{s3}/toy.zarr")
    told, _ = quick(store.location, tmp_path / "whole")
    assert "warning" not in told
    (staged,) = (tmp_path / "stage").glob("*/zarr.json")
    np.testing.assert_array_equal(
        Store(staged.parent).read_features("neck", 0, 40), store.read_features("neck", 0, 40)
    )
