"""A killed extraction, resumed, ends in the very bytes of one that was never killed."""

import signal
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from forked import ForkedProcess
from killed_extract import extract_until
from store_content import uncommit
from tiny_extraction import Extract, write_npz

from samcache.cache.store import Store


def run_and_kill(npz: Path, store: Path, checkpoint: Path, moment: int) -> int | None:
    words = [str(word) for word in (npz, store, checkpoint, moment)]
    process = ForkedProcess(extract_until, words, store.parent / f"{store.stem}-{uuid4()}")
    _, errors = process.communicate()
    assert moment or process.returncode == 0, errors
    return process.returncode


def array_objects(store: Path) -> dict[str, bytes]:
    """Every object of the store but the commit records, which hold their time of writing."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and its store written without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    npz = write_npz(folder / "toy.npz")
    run_and_kill(npz, folder / "whole.zarr", checkpoint, 0)
    return npz, folder / "whole.zarr"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_and_resumed_equals_uninterrupted(
    whole: tuple[Path, Path], checkpoint: Path, tmp_path: Path, seed: int
) -> None:
    npz, expected_store = whole
    killed = tmp_path / "killed.zarr"
    moments = np.random.default_rng(seed).integers(1, 90, size=3)
    kills = [run_and_kill(npz, killed, checkpoint, int(m)) == -signal.SIGKILL for m in moments]
    assert any(kills), "not one of the runs was killed: the moments are chosen badly"
    run_and_kill(npz, killed, checkpoint, 0)
    expected, found = array_objects(expected_store), array_objects(killed)
    assert expected.keys() == found.keys()
    assert [key for key in expected if expected[key] != found[key]] == []
    first, second = Store(expected_store), Store(killed)
    assert second.list_pending() == []
    for shard, commit in first.commits.items():
        assert commit.objects == second.commits[shard].objects


def test_a_kill_between_data_and_commit_leaves_the_shard_pending(
    run_extract: Extract,
) -> None:
    store, _ = run_extract()
    uncommit(store, 2)
    assert Store(store.location).list_pending() == [2]
    before = array_objects(Path(store.location))
    again, summary = run_extract()
    assert summary.encoded == 8
    assert array_objects(Path(again.location)) == before
