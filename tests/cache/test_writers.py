"""Writers that die, sleep and meet in one shard: one's data stands, and its record matches it."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from store_content import content, create, full_store
from watched_objects import Died, Memory, Watched, die

from samcache.cache.care.verify import verify
from samcache.cache.commit import commit_shard, remove_unmatched_commit, restore_commit
from samcache.cache.create import store_exists
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.store import Store

STEPS = range(1, 20)


@cache
def empty_store() -> Memory:
    memory: Memory = {}
    create("memory", objects=Watched(memory))
    return memory


class Shard:
    """One shard, its store in memory, and who holds the newest claim on it."""

    def __init__(self) -> None:
        self.memory, self.holder = dict(empty_store()), -1

    def store(self) -> Store:
        return Store("memory", Watched(self.memory))

    def committed(self) -> bool:
        return 0 in self.store().list_committed()

    def work(self, seed: int, step: int = 0, hook: Callable[[], None] = lambda: None) -> None:
        """Take the shard over, if it is pending, and commit the content of a seed.

        ``hook`` runs before a step.
        """
        if self.committed():
            return
        self.holder = seed
        store = self.store()
        made = content(store, 0, seed)
        store.objects = Watched(self.memory, step, hook)
        with suppress(Died):
            commit_shard(store, 0, made, lambda: self.holder == seed)

    def writers(self) -> set[int]:
        """The seeds whose content stands, object by object."""
        self.work(4)  # someone comes by in the end and finishes what is pending
        store = self.store()
        assert verify(store) == []
        return {
            seed
            for seed in range(5)
            for path, block in content(store, 0, seed).blocks.items()
            if np.array_equal(store.read(path, 0, 4), block)
        }


@pytest.mark.parametrize("death", STEPS)
def test_a_successor_with_other_bits_replaces_what_the_dead_one_left(death: int) -> None:
    shard = Shard()
    shard.work(0, death, die)
    committed = shard.committed()
    assert shard.writers() == ({0} if committed else {4})


@pytest.mark.parametrize("sleep", STEPS)
@pytest.mark.parametrize("death", [0, 3])
def test_a_sleeper_that_was_succeeded_leaves_one_writers_data(death: int, sleep: int) -> None:
    """It wakes after its successor has finished; it may itself have succeeded a dead one."""
    shard = Shard()
    if death:
        shard.work(0, death, die)
    shard.work(1, sleep, lambda: shard.work(2))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("death", STEPS)
@pytest.mark.parametrize("sleep", STEPS)
def test_a_sleeper_whose_successor_dies_leaves_one_writers_data(sleep: int, death: int) -> None:
    shard = Shard()
    shard.work(0, 3, die)
    shard.work(1, sleep, lambda: shard.work(2, death, die))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("sleep", STEPS)
@pytest.mark.parametrize("second", range(1, 20, 3))
def test_two_sleepers_leave_one_writers_data(sleep: int, second: int) -> None:
    shard = Shard()
    shard.work(0, 3, die)
    shard.work(1, sleep, lambda: shard.work(2, second, lambda: shard.work(3)))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("sleep", STEPS)
def test_who_finds_a_record_without_its_data_and_sleeps_loses_no_later_shard(sleep: int) -> None:
    """What the later writer committed is there, or comes back from the spare without encoding."""
    shard = Shard()
    shard.work(0)
    store, key = shard.store(), "features/patch/c/0/0/0/0/0"
    store.objects.put(key, store.objects.get(key)[::-1])  # as by a writer that slept
    done: list[bool] = []

    def another() -> None:
        remove_unmatched_commit(shard.store(), 0)
        shard.work(2)
        done.append(shard.committed())

    store.objects = Watched(shard.memory, sleep, another)
    remove_unmatched_commit(store, 0)
    assert shard.committed() or not any(done) or restore_commit(shard.store(), 0)
    if any(done):
        assert shard.writers() == {2}


@pytest.mark.parametrize("moment", ["", "commits"])
def test_a_store_that_appears_while_it_is_looked_for_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    children = FolderObjects.list_children

    def after_another(self: FolderObjects, prefix: str) -> tuple[list[str], list[str]]:
        if prefix == moment:
            monkeypatch.undo()
            full_store(tmp_path / "s.zarr")
        return children(self, prefix)

    monkeypatch.setattr(FolderObjects, "list_children", after_another)
    assert store_exists(FolderObjects(tmp_path / "s.zarr"))
