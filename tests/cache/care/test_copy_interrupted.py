"""A copy that is cut off, killed, put to sleep, or not alone."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from copies import FEATURE, check_valid, copy, copy_into, tree
from faulty_objects import BreakingFolder
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import content, everything, full_store, samples
from watched_objects import Breaking, Watched

from samcache.cache.care import copy as copying
from samcache.cache.care.copy import CopySummary
from samcache.cache.care.transfer.table import copy_table
from samcache.cache.care.verify import verify
from samcache.cache.claims import ClaimRecord, Claims, make_claim_key
from samcache.cache.commit import commit_shard
from samcache.cache.create import create_store, store_exists
from samcache.cache.errors import StoreError, UnfinishedError
from samcache.cache.format.commit_record import make_commit_key, make_shard_name
from samcache.cache.format.records import seal
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import ShardContent, Store


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 45), min_size=1, max_size=3))
def test_a_copy_cut_off_anywhere_is_a_valid_store_and_goes_on(cuts: list[int]) -> None:
    source, memory = full_store("source", objects=Watched({})), dict[str, bytes]()
    with pytest.MonkeyPatch.context() as patch:
        for writes in cuts:
            try:
                copy_into(Breaking(memory, writes), source, patch)
            except StoreError as error:
                assert str(error) == "cut off"  # noqa: PT017
            check_valid(Watched(memory), source)
        copy_into(Watched(memory), source, patch)
    assert memory == everything(source)


def test_a_copy_on_disk_that_is_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = full_store(tmp_path / "source.zarr"), tmp_path / "copy.zarr"
    for writes in (9, 16, 22):
        with contextlib.suppress(StoreError):
            copy_into(BreakingFolder(folder, writes), source, monkeypatch)
        check_valid(FolderObjects(folder), source)
    copy(source, folder)
    assert tree(folder) == tree(Path(source.location))


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from faulty_objects import BreakingFolder
from samcache.cache.care import copy
from samcache.cache.format.records import seal
from samcache.cache.store import ShardContent, Store
folder = BreakingFolder(Path(sys.argv[3]), int(sys.argv[4]), lambda: os._exit(9))
copy.open_objects = lambda _: folder
copy.copy_store(Store(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize("writes", [8, 21, 27])
def test_a_killed_copy_leaves_claims_that_hold_nobody_up(tmp_path: Path, writes: int) -> None:
    source = full_store(tmp_path / "source.zarr")
    arguments = [
        Path(__file__).parents[2] / "helpers",
        source.location,
        tmp_path / "copy.zarr",
        writes,
    ]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    assert subprocess.run(command, check=False).returncode == 9
    assert list((tmp_path / "copy.zarr" / "claims").iterdir())
    claimed = {key for key in tree(tmp_path / "copy.zarr") if key.startswith("claims/0")}
    check_valid(FolderObjects(tmp_path / "copy.zarr"), source)
    left = open_objects(tmp_path / "copy.zarr")
    left.delete(left.find_leftovers())  # files half written, which are no objects
    copy(source, tmp_path / "copy.zarr")
    copied = tree(tmp_path / "copy.zarr")
    # a claim stays where the process was killed between a commit and the end of its claim
    copied = {key: value for key, value in copied.items() if key not in claimed}
    assert copied == tree(tmp_path / "source.zarr")


def test_objects_that_arrived_before_a_cut_are_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = full_store(tmp_path / "source.zarr", rows=4)
    size = store.commits[0].objects
    copy_table(store, open_objects(tmp_path / "copy.zarr"))
    first, second, *_ = size
    breaking = BreakingFolder(tmp_path / "copy.zarr", writes=3)  # a claim and two objects
    with pytest.raises(StoreError, match="cut off"):
        copy_into(breaking, tmp_path / "source.zarr", monkeypatch)
    assert (tmp_path / "copy.zarr" / second).exists()
    total = sum(entry.bytes for entry in size.values())
    again = copy(store, tmp_path / "copy.zarr")
    assert again.bytes == total - size[first].bytes - size[second].bytes


def test_what_a_dead_writer_left_is_replaced(tmp_path: Path) -> None:
    source = full_store(tmp_path / "source.zarr")
    copy_table(source, open_objects(tmp_path / "copy.zarr"))
    size = len((tmp_path / "source.zarr" / FEATURE).read_bytes())
    open_objects(tmp_path / "copy.zarr").put(FEATURE, b"x" * size)
    copy(source, tmp_path / "copy.zarr")
    assert tree(tmp_path / "copy.zarr") == tree(tmp_path / "source.zarr")


def test_two_copies_to_one_destination_share_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE", 0.02)
    source = full_store(tmp_path / "source.zarr", rows=40, rows_per_shard=2)
    copy_table(source, open_objects(tmp_path / "copy.zarr"))
    summaries: list[CopySummary] = []
    threads = [
        threading.Thread(target=lambda: summaries.append(copy(source, tmp_path / "copy.zarr")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [summary.damaged for summary in summaries] == [{}] * 3
    sent = sum(entry.bytes for c in source.commits.values() for entry in c.objects.values())
    assert sum(summary.bytes for summary in summaries) == sent
    assert tree(tmp_path / "copy.zarr") == tree(tmp_path / "source.zarr")


class SleepingFolder(FolderObjects):
    """Before it creates FEATURE for the first time, others have their way."""

    def __init__(self, root: Path, meanwhile: Callable[[], None]) -> None:
        super().__init__(root)
        self._meanwhile = meanwhile

    def create(self, key: str, data: bytes) -> bool:
        if key == FEATURE:
            meanwhile, self._meanwhile = self._meanwhile, lambda: None
            meanwhile()
        return super().create(key, data)


def test_a_copy_that_slept_leaves_a_shard_alone_that_was_committed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE", 0.02)
    source, folder = full_store(tmp_path / "source.zarr"), tmp_path / "copy.zarr"
    other = content(source, 1, seed=5)
    sleeping = SleepingFolder(folder, lambda: assert_committed(Store(folder), other))
    summary = copy_into(sleeping, tmp_path / "source.zarr", monkeypatch)
    assert list(summary.damaged) == [make_commit_key(1)]
    copied = Store(folder)
    np.testing.assert_array_equal(
        copied.read_features("patch", 4, 8), other.blocks["features/patch"]
    )


def assert_committed(store: Store, shard_1: ShardContent) -> None:
    assert commit_shard(store, 1, shard_1)


def test_a_copy_that_slept_as_it_took_back_a_shard_leaves_what_was_committed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_store(tmp_path / "whole.zarr")
    copy(tmp_path / "whole.zarr", tmp_path / "source.zarr")
    (tmp_path / "source.zarr" / "statistics/c/1/0/0").unlink()  # the last of its objects
    folder = tmp_path / "copy.zarr"

    class Sleeping(FolderObjects):
        def delete(self, keys: Iterable[str]) -> None:
            keys = list(keys)
            if FEATURE in keys:
                for name in (f"claims/{make_shard_name(1)}.0000/zarr.json",):
                    (folder / name).unlink()  # it has expired
                copy(tmp_path / "whole.zarr", folder)
            super().delete(keys)

    copy_into(Sleeping(folder), tmp_path / "source.zarr", monkeypatch)
    assert verify(Store(folder)) == []
    assert Store(folder).list_committed() == [0, 1, 2]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30))
def test_a_store_is_not_made_of_what_a_cut_off_copy_began(writes: int) -> None:
    """Whoever creates a store there has it whole, or is told to finish the copy."""
    source, memory = full_store("source", objects=Watched({})), dict[str, bytes]()
    objects = Watched(memory)
    with pytest.MonkeyPatch.context() as patch:
        with contextlib.suppress(StoreError):
            copy_into(Breaking(memory, writes), source, patch)
        if not store_exists(objects):
            try:
                made = replace(source.description, table=None)
                create_store("memory", objects, made, samples(10))
            except UnfinishedError as error:
                assert "an unfinished copy or import" in str(error)  # noqa: PT017
                assert not store_exists(objects)
            else:
                assert verify(Store("memory", objects)) == []
        copy_into(objects, source, patch)
        assert verify(Store("memory", objects)) == []


def test_a_copy_whose_claim_was_taken_over_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE", 0.02)
    full_store(tmp_path / "source.zarr")
    folder = tmp_path / "copy.zarr"
    elsewhere = ClaimRecord(1, "another", "elsewhere", 1, "then", time.time() + 0.5)
    deleted: list[str] = []

    def take_over() -> None:
        objects = FolderObjects(folder)
        objects.put(make_claim_key(make_shard_name(1), 1), seal(asdict(elsewhere)))
        objects.put(FEATURE, b"its object, on which its record may be about to be built")

    sleeping = SleepingFolder(folder, take_over)
    delete = sleeping.delete

    def note(keys: Iterable[str]) -> None:
        keys = list(keys)
        if FEATURE in keys:
            assert time.time() > elsewhere.expires
            deleted.extend(keys)
        delete(keys)

    monkeypatch.setattr(sleeping, "delete", note)
    assert copy_into(sleeping, tmp_path / "source.zarr", monkeypatch).damaged == {}
    assert deleted == [FEATURE]
    assert {key: data for key, data in tree(folder).items() if "claims" not in key} == {
        key: data for key, data in tree(tmp_path / "source.zarr").items() if "claims" not in key
    }


def test_a_shard_that_another_process_writes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE", 0.02)
    source = full_store(tmp_path / "source.zarr")
    objects = open_objects(tmp_path / "copy.zarr")
    copy_table(source, objects)
    with Claims(objects) as claims:
        claims.take(make_shard_name(1))
        timer = threading.Timer(0.5, lambda: claims.release(make_shard_name(1)))
        timer.start()
        started = time.monotonic()
        assert copy(source, tmp_path / "copy.zarr").shards == 3
        assert time.monotonic() - started >= 0.5
        timer.join()


def test_while_another_process_creates_the_destination_the_copy_says_so(tmp_path: Path) -> None:
    source = full_store(tmp_path / "source.zarr")
    objects = open_objects(tmp_path / "copy.zarr")
    with Claims(objects) as claims:
        claims.take("table")
        with pytest.raises(StoreError, match="being created or changed by another process"):
            copy(source, tmp_path / "copy.zarr")


def test_large_objects_do_not_pile_up_in_memory() -> None:
    from samcache.cache.care.transfer.shards import _Memory

    memory, used, peak = _Memory(100), 0, 0
    lock = threading.Lock()

    def hold(count: int) -> None:
        nonlocal used, peak
        with memory.hold(count):
            with lock:
                used += count
                peak = max(peak, used)
            time.sleep(0.001)
            with lock:
                used -= count

    counts = [30, 70, 100, 250, 10] * 10
    threads = [threading.Thread(target=hold, args=(count,)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (used, peak) == (0, 250)  # what is larger than all of it goes alone


def test_ctrl_c_ends_a_copy_between_two_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_store(tmp_path / "source.zarr", rows=60, rows_per_shard=1)
    folder = tmp_path / "copy.zarr"
    pressed: list[int] = []

    def once() -> None:
        time.sleep(0.01)  # time for the others to begin what they should not
        if not pressed:
            pressed.append(1)
            raise KeyboardInterrupt

    breaking = BreakingFolder(folder, writes=60, stop=once)
    with pytest.raises(KeyboardInterrupt):
        copy_into(breaking, tmp_path / "source.zarr", monkeypatch)
    assert -breaking.writes <= 2 * copying._PARALLEL  # an object or a record for each thread
    assert tree(folder).keys() & {"claims/zarr.json"} == {
        key for key in tree(folder) if key.startswith("claims")
    }
