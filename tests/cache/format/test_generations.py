"""A new sample table over the same rows: what was committed keeps its meaning."""

from pathlib import Path

import pandas as pd
import pytest
import zarr
from store_content import full_store

from samcache.cache.care.verify import verify
from samcache.cache.create import add_generation
from samcache.cache.errors import StoreError


@pytest.mark.parametrize("kept", [9, 4, 1])
def test_dropping_the_last_rows_never_frees_them_for_others(tmp_path: Path, kept: int) -> None:
    store = full_store(tmp_path / "s.zarr")
    shorter = add_generation(store, store.table.iloc[:kept])
    assert len(shorter.samples) == kept
    assert (shorter.samples["status"] == "ok").all()
    assert (shorter.layout.shards, shorter.list_pending()) == (3, [])
    assert verify(shorter) == []
    grown = pd.concat([shorter.table, store.table.iloc[9:].assign(id="new", row=12)])
    longer = add_generation(shorter, grown)
    assert longer.list_pending() == [3]
    assert longer.samples["status"].tolist() == ["ok"] * kept + ["missing"]
    shown = zarr.open_group(store.location, mode="r")["features/neck"].shape
    assert shown == (13, 1, 3, 2, 2)


def test_a_table_without_samples_is_refused(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="needs at least one sample"):
        add_generation(store, store.table.iloc[:0])
