"""A store that was cut off as it was created or as it grew is unfinished, and never damaged."""

from pathlib import Path

import pandas as pd
import pytest
from faulty_objects import BreakingFolder, flip
from rich.console import Console
from store_content import content, create, full_store, samples

from samcache.cache.care.damage.open_damaged import open_damaged
from samcache.cache.care.damage.restore import restore_records
from samcache.cache.care.listing import list_stores
from samcache.cache.care.verify import Report, report
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation, create_store, write_metadata
from samcache.cache.errors import StoreError, UnfinishedError
from samcache.cache.format.description import SPARE
from samcache.cache.format.samples import make_generation_key
from samcache.cache.store import Store
from samcache.commands.show.stores import describe_report, make_listing


def grown(store: Store) -> pd.DataFrame:
    """The store's table and three samples more."""
    fresh = samples(13).iloc[10:].assign(row=range(12, 15))
    return pd.concat([store.table, fresh], ignore_index=True)


def cut_off_growth(folder: Path, writes: int) -> bool:
    """Let a full store grow, with so many writes; whether that was too few."""
    full_store(folder)
    store = Store(folder, BreakingFolder(folder, writes))
    try:
        add_generation(store, grown(store))
    except StoreError as error:
        assert str(error) == "cut off"  # noqa: PT017
        return True
    return False


def test_a_creation_cut_off_anywhere_is_told_and_goes_on(tmp_path: Path) -> None:
    pattern = create(tmp_path / "pattern.zarr")
    writes = 1
    while True:
        folder = tmp_path / f"{writes}.zarr"
        objects = BreakingFolder(folder, writes)
        try:
            create_store(folder, objects, pattern.description, samples(10))
            break
        except StoreError:
            writes += 1
        with pytest.raises(UnfinishedError, match="interrupted, or is under way: run the same"):
            Store(folder)
        with pytest.raises(UnfinishedError):
            report(folder, False)
        create(folder)
        assert report(folder, False).damage == []
    assert writes > 10, "the creation was cut off at every write"


def test_growth_cut_off_anywhere_is_no_damage_and_is_told(tmp_path: Path) -> None:
    told, writes = [], 0
    while cut_off_growth(folder := tmp_path / f"{writes}.zarr", writes):
        found: Report = report(folder, False)
        assert found.damage == []
        assert found.interrupted == ("run the same command again" in describe_report(found))
        told.append(found.interrupted)
        write_metadata(Store(folder))
        assert not report(folder, False).interrupted
        writes += 1
    assert told == sorted(told), "until the new table exists there is nothing to tell"
    assert any(told)


def test_damage_in_a_store_that_was_cut_off_is_found(tmp_path: Path) -> None:
    folder, writes = tmp_path / "s.zarr", 0
    while cut_off_growth(folder, writes) and not report(folder, False).interrupted:
        writes += 1
        folder = tmp_path / f"{writes}.zarr"
    flip(folder / "features/neck/zarr.json")
    found = report(folder, False)
    assert [one.key for one in found.damage] == ["features/neck/zarr.json"]
    assert found.interrupted


def test_a_store_without_its_root_record_is_damaged_where_something_was_committed(
    tmp_path: Path,
) -> None:
    full_store(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/zarr.json").unlink()
    assert [one.key for one in report(tmp_path / "s.zarr", False).damage] == ["zarr.json"]
    with pytest.raises(StoreError, match="no store at") as caught:
        Store(tmp_path / "s.zarr")
    assert not isinstance(caught.value, UnfinishedError)


def test_an_unfinished_store_is_listed_as_one(tmp_path: Path) -> None:
    create(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/zarr.json").unlink()
    (row,) = list_stores(tmp_path)
    assert row.state == "unfinished"
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as shown:
        console.print(make_listing([row], str(tmp_path)))
    assert "unfinished" in shown.get()
    assert "damaged" not in shown.get()


def test_what_an_older_version_left_of_another_table_becomes_no_part_of_a_store(
    tmp_path: Path,
) -> None:
    """It wrote the record of its table before anything decided whose store it would be."""
    older = create(tmp_path / "s.zarr", rows=12)
    for key in (SPARE, "zarr.json"):
        (tmp_path / "s.zarr" / key).unlink()
    assert older.generation.count == 12
    made = create(tmp_path / "s.zarr", rows=10)
    for shard in range(made.layout.shards):
        commit_shard(made, shard, content(made, shard))
    assert len(made.table) == 10
    assert report(tmp_path / "s.zarr", False).damage == []


def test_a_flipped_bit_in_a_table_without_a_copy_is_corrected(tmp_path: Path) -> None:
    """The process that made the store grow was cut off before it copied the record."""
    writes, folder = 0, tmp_path / "0.zarr"
    while cut_off_growth(folder, writes) and not report(folder, False).interrupted:
        writes += 1
        folder = tmp_path / f"{writes}.zarr"
    flip(folder / make_generation_key(1))
    store, damage = open_damaged(folder)
    assert [one.key for one in damage] == [make_generation_key(1)]
    assert len(restore_records(store, damage).table) == 13
    assert report(folder, False).damage == []
