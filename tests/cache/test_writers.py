"""Writers that die, sleep and meet in one shard: one's data stands, and its record matches it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from store_content import content, create, full_store

from samcache.cache.commits import commit_key
from samcache.cache.create import store_exists
from samcache.cache.folder import FolderObjects
from samcache.cache.store import Store
from samcache.cache.verify import verify


class Died(BaseException):
    """A process is gone."""


class Watched(FolderObjects):
    """Calls ``hook`` before its n-th step, counted from 1."""

    def __init__(self, root: Path, step: int, hook: Callable[[], None]) -> None:
        super().__init__(root)
        self.steps, self._step, self._hook = 0, step, hook

    def _count(self) -> None:
        self.steps += 1
        if self.steps == self._step:
            self._hook()

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._count()
        super().put(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        self._count()
        super().delete(keys)

    def size(self, key: str) -> int | None:
        self._count()
        return super().size(key)


STEPS = range(1, 20)


class Shard:
    """One shard, its store, and who holds the newest claim on it."""

    def __init__(self, path: Path) -> None:
        self.path, self.holder = path, -1
        create(path)

    def work(self, seed: int, step: int = 0, hook: Callable[[], None] = lambda: None) -> None:
        """Take the shard over, if it is pending, and commit the content of a seed.

        ``hook`` runs before a step.
        """
        if (self.path / commit_key(0)).exists():
            return
        self.holder = seed
        store = Store(self.path)
        made = content(store, 0, seed)
        store.objects = Watched(self.path, step, hook)
        with suppress(Died):
            store.commit(0, made, lambda: self.holder == seed)

    def writers(self) -> set[int]:
        """The seeds whose content stands, object by object."""
        self.work(4)  # someone comes by in the end and finishes what is pending
        store = Store(self.path)
        assert verify(store) == []
        return {
            seed
            for seed in range(5)
            for path, block in content(store, 0, seed).blocks.items()
            if np.array_equal(store.read(path, 0, 4), block)
        }


def die() -> None:
    raise Died


@pytest.mark.parametrize("death", STEPS)
def test_a_successor_with_other_bits_replaces_what_the_dead_one_left(
    tmp_path: Path, death: int
) -> None:
    shard = Shard(tmp_path / "s.zarr")
    shard.work(0, death, die)
    committed = (tmp_path / "s.zarr" / commit_key(0)).exists()
    assert shard.writers() == ({0} if committed else {4})


@pytest.mark.parametrize("sleep", STEPS)
@pytest.mark.parametrize("death", [0, 3])
def test_a_sleeper_that_was_succeeded_leaves_one_writers_data(
    tmp_path: Path, death: int, sleep: int
) -> None:
    """It wakes after its successor has finished; it may itself have succeeded a dead one."""
    shard = Shard(tmp_path / "s.zarr")
    if death:
        shard.work(0, death, die)
    shard.work(1, sleep, lambda: shard.work(2))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("death", STEPS)
@pytest.mark.parametrize("sleep", STEPS)
def test_a_sleeper_whose_successor_dies_leaves_one_writers_data(
    tmp_path: Path, sleep: int, death: int
) -> None:
    shard = Shard(tmp_path / "s.zarr")
    shard.work(0, 3, die)
    shard.work(1, sleep, lambda: shard.work(2, death, die))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("sleep", STEPS)
@pytest.mark.parametrize("second", range(1, 20, 3))
def test_two_sleepers_leave_one_writers_data(tmp_path: Path, sleep: int, second: int) -> None:
    shard = Shard(tmp_path / "s.zarr")
    shard.work(0, 3, die)
    shard.work(1, sleep, lambda: shard.work(2, second, lambda: shard.work(3)))
    assert len(shard.writers()) == 1


@pytest.mark.parametrize("moment", ["", "commits"])
def test_a_store_that_appears_while_it_is_looked_for_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    children = FolderObjects.children

    def after_another(self: FolderObjects, prefix: str) -> tuple[list[str], list[str]]:
        if prefix == moment:
            monkeypatch.undo()
            full_store(tmp_path / "s.zarr")
        return children(self, prefix)

    monkeypatch.setattr(FolderObjects, "children", after_another)
    assert store_exists(FolderObjects(tmp_path / "s.zarr"))
