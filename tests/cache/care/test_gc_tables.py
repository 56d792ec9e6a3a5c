"""Superseded sample tables are garbage, and the newest is found whatever happens to them."""

from pathlib import Path

import pandas as pd
import pytest
from store_content import everything, full_store

from samcache.cache.care.gc import collect, find_garbage
from samcache.cache.claims import Claims
from samcache.cache.create import TABLE, add_generation
from samcache.cache.format.samples import NEWEST, make_generation_key, make_generation_objects
from samcache.cache.objects.base import Objects
from samcache.cache.store import Store

COLUMN = "samples/00000001/id/c/0"


def tables(path: Path) -> Store:
    """A full store with three sample tables."""
    store = full_store(path)
    store = add_generation(store, store.table.assign(split="val"))
    return add_generation(store, store.table.assign(split="test"))


def test_superseded_tables_go_and_the_newest_stays(tmp_path: Path) -> None:
    store = tables(tmp_path / "s")
    before = everything(store)
    old = {key for key in before if key.startswith(("samples/00000000/", "samples/00000001/"))}
    assert {one.key for one in find_garbage(store)} == old
    collect(store, find_garbage(store))
    assert everything(store) == {key: before[key] for key in before.keys() - old}
    again = Store(store.location)
    pd.testing.assert_frame_equal(again.table, store.table)
    assert add_generation(again, again.table).generation.number == 3


@pytest.mark.parametrize("hint", [b"torn", None])
def test_the_newest_table_is_found_without_the_hint_after_collection(
    tmp_path: Path, hint: bytes | None
) -> None:
    store = tables(tmp_path / "s")
    collect(store, find_garbage(store))
    store.objects.delete([NEWEST])
    if hint:
        store.objects.put(NEWEST, hint)
    assert Store(store.location).generation == store.generation


def test_without_the_hint_no_table_is_garbage(tmp_path: Path) -> None:
    store = tables(tmp_path / "s")
    first = store.objects.get(make_generation_key(0))
    for hint in (None, b"torn", first):
        store.objects.delete([NEWEST])
        if hint:
            store.objects.put(NEWEST, hint)
        assert find_garbage(store) == []


def test_an_interrupted_collection_never_leaves_an_old_table_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tables(tmp_path / "s")
    garbage = find_garbage(store)
    kind = type(store.objects)
    delete = kind.delete

    class StopError(Exception):
        pass

    for _ in range(len(garbage)):

        def once(self: Objects, keys: list[str]) -> None:
            delete(self, list(keys))
            raise StopError

        with monkeypatch.context() as patched:
            patched.setattr(kind, "delete", once)
            with pytest.raises(StopError):
                collect(store, garbage)
        hint = store.objects.get(NEWEST)
        store.objects.put(NEWEST, b"torn")
        assert Store(store.location).generation == store.generation
        store.objects.put(NEWEST, hint)
        for number in (0, 1):
            if store.objects.find_size(make_generation_key(number)) is not None:
                assert len(store.objects.list_objects(f"samples/{number:08d}")) == 9


def begin_table(store: Store) -> None:
    """One column of the table that follows, as a writer that was killed leaves it."""
    _, columns = make_generation_objects(1, store.table, store.generation.extent)
    store.objects.put(COLUMN, columns[COLUMN])


def test_a_table_that_was_never_finished_goes_unless_someone_writes_it(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s")
    begin_table(store)
    with Claims(store.objects) as claims:
        assert claims.take(TABLE)
        assert find_garbage(store) == []
    assert [one.key for one in find_garbage(store)] == [COLUMN]
    garbage = find_garbage(store)
    add_generation(store, store.table)
    assert collect(store, garbage) == []


def test_a_table_that_is_finished_at_the_last_moment_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = full_store(tmp_path / "s")
    begin_table(store)
    garbage, take = find_garbage(store), Claims.take

    def slow(self: Claims, name: str) -> object:
        add_generation(Store(store.location), store.table)
        return take(self, name)

    monkeypatch.setattr(Claims, "take", slow)
    assert collect(store, garbage) == []
    pd.testing.assert_frame_equal(Store(store.location).table, store.table)
