"""Writers of tables that sleep or die at any step: one writer's store stands, and all of it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
from store_content import content, create, samples
from watched_objects import Died, Memory, Watched, die

from samcache.cache.care.gc import collect, find_garbage
from samcache.cache.care.verify import verify
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation, create_store, store_exists, write_metadata
from samcache.cache.errors import OvertakenError, StoreError
from samcache.cache.format.commit_record import make_commit_key, make_spare_key
from samcache.cache.format.description import Description
from samcache.cache.store import Store

CREATING, GROWING, COLLECTING = 40, 23, 22  # steps of an undisturbed writer, and one more
Hook = Callable[[], None]


@cache
def make_pattern() -> Description:
    """What every store here is described as, but for its data set's name."""
    return create("pattern", objects=Watched({})).description


class Place:
    """Where writers meet; each has a table and a data set of its own, and commits all shards."""

    def __init__(self) -> None:
        self.memory: Memory = {}
        self.steps = 0
        self.pattern = make_pattern()

    def store(self) -> Store:
        return Store("memory", Watched(self.memory))

    def extract(self, seed: int, step: int = 0, hook: Hook = lambda: None) -> None:
        """Create the store as ``extract`` does, or take the one that stands, and fill it."""
        objects = Watched(self.memory, step, hook)
        try:
            if not store_exists(objects):
                named = replace(self.pattern.dataset, name=f"data set {seed}")
                made = replace(self.pattern, dataset=named, table=None)
                create_store("memory", objects, made, self.table(seed))
            self.fill(self.store())
        except Died:
            pass
        self.steps = objects.steps

    def grow(self, seed: int, step: int = 0, hook: Hook = lambda: None) -> None:
        """Give the store a table with images of a seed, until it has them, and fill it."""
        store = Store("memory", Watched(self.memory, step, hook))
        with suppress(Died):
            while f"grown {seed}" not in set(store.table["id"]):
                first = store.layout.shards * store.rows_per_shard
                fresh = samples(seed + 1).assign(
                    id=f"grown {seed}", row=range(first, first + seed + 1)
                )
                table = pd.concat([store.table, fresh[:1]], ignore_index=True)
                try:
                    store = add_generation(store, table)
                except OvertakenError:
                    store = Store("memory", store.objects)
            self.fill(self.store())
        self.steps = store.objects.steps  # type: ignore[attr-defined]

    def collect(self, step: int = 0, hook: Hook = lambda: None) -> None:
        """Remove what belongs to nothing."""
        store = self.store()
        garbage = find_garbage(store)
        store.objects = watched = Watched(self.memory, step, hook)
        with suppress(Died):
            collect(store, garbage)
        self.steps = watched.steps

    def fill(self, store: Store) -> None:
        for shard in store.list_pending():
            commit_shard(store, shard, content(store, shard, seed=len(store.dataset.name)))

    def table(self, seed: int) -> pd.DataFrame:
        return samples(6 + seed).assign(group=f"group {seed}")

    def check(self) -> Store:
        """All that stands is whole and follows from one table, which Zarr readers see too."""
        store = self.store()
        assert verify(store) == []
        assert set(store.samples["status"]) == {"ok"}
        return store


def test_every_step_of_a_writer_is_disturbed() -> None:
    """The numbers above are the code's; a disturbance at a number itself comes too late."""
    place = Place()
    place.extract(1)
    assert place.steps == CREATING - 1
    place.grow(2)
    assert place.steps == GROWING - 1
    with_garbage = leave_garbage()
    with_garbage.collect()
    assert with_garbage.steps == COLLECTING - 1


@pytest.mark.parametrize("sleep", range(1, CREATING + 1))
def test_a_creator_that_sleeps_leaves_the_store_that_another_made(sleep: int) -> None:
    place = Place()
    seen: list[bytes] = []

    def another() -> None:
        place.extract(2)
        seen.append(place.store().objects.get("zarr.json"))

    place.extract(1, sleep, another)
    store = place.check()
    made = int(store.dataset.name[-1])
    table = store.table.drop(columns="row")
    pd.testing.assert_frame_equal(table, place.table(made), check_dtype=False)
    if seen:
        assert place.store().objects.get("zarr.json") == seen[0]


@pytest.mark.parametrize("death", range(1, CREATING + 1, 3))
@pytest.mark.parametrize("sleep", range(1, CREATING + 1, 4))
def test_a_creator_that_sleeps_while_another_dies_leaves_one_store(sleep: int, death: int) -> None:
    place = Place()
    place.extract(1, sleep, lambda: place.extract(2, death, die))
    place.extract(3)
    store = place.check()
    made = int(store.dataset.name[-1])
    assert list(store.table["group"]) == [f"group {made}"] * (6 + made)


@pytest.mark.parametrize("sleep", range(1, GROWING + 1))
@pytest.mark.parametrize("collected", [False, True])
def test_a_writer_of_a_table_that_sleeps_loses_no_other_table(sleep: int, collected: bool) -> None:
    place = Place()
    place.extract(1)

    def others() -> None:
        place.grow(2)
        place.grow(3)
        if collected:
            place.collect()

    place.grow(4, sleep, others)
    if sleep > place.steps:
        others()
    assert {"grown 2", "grown 3", "grown 4"} <= set(place.check().table["id"])


@pytest.mark.parametrize("death", range(1, GROWING + 1))
def test_a_writer_of_a_table_that_dies_is_followed_by_others(death: int) -> None:
    place = Place()
    place.extract(1)
    place.grow(2, death, die)
    place.grow(3)
    write_metadata(place.store())
    assert "grown 3" in set(place.check().table["id"])


@pytest.mark.parametrize("sleep", range(1, COLLECTING + 1))
def test_a_collector_that_sleeps_takes_nothing_that_came_to_life(sleep: int) -> None:
    place = leave_garbage()
    place.collect(sleep, lambda: place.grow(2))
    place.fill(place.store())
    place.check()


def leave_garbage() -> Place:
    """Columns without a record, by a writer that died, and a shard that is committed no more."""
    place = Place()
    place.extract(1)
    with suppress(StoreError):
        place.grow(2, 6, die)
    shard = place.store().layout.shards - 1
    place.store().objects.delete([make_commit_key(shard), make_spare_key(shard)])
    return place
