"""Several processes fill one store: killed or not, it ends as a single one would have left it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_npz

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.cache.verify import verify
from samcache.extract.division import Division, division

SCRIPT = Path(__file__).with_name("killed_extract.py")


def start(npz: Path, store: Path, checkpoint: Path, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), str(npz), str(store), str(checkpoint), "0"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), **variables}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return errors.decode()


def array_objects(store: Path) -> dict[str, bytes]:
    """Every object of the arrays; what a killed process was writing (name#1) is none."""
    paths = (path for path in sorted(store.rglob("*")) if path.is_file() and "#" not in path.name)
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in paths if p.name != "zarr.json"}


@pytest.fixture(scope="module")
def alone(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A source of 160 images, and the objects that one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    npz = write_npz(folder / "toy.npz", (96, 32, 32))
    finish(start(npz, folder / "alone.zarr", checkpoint))
    return npz, array_objects(folder / "alone.zarr")


@pytest.mark.slow
def test_processes_that_start_together_share_the_work(
    alone: tuple[Path, dict[str, bytes]], checkpoint: Path, tmp_path: Path
) -> None:
    npz, expected = alone
    workers = [start(npz, tmp_path / "s.zarr", checkpoint) for _ in range(3)]
    for worker in workers:
        finish(worker)
    assert array_objects(tmp_path / "s.zarr") == expected
    store = Store(tmp_path / "s.zarr")
    assert store.pending() == []
    assert verify(store) == []
    assert list(store.objects.listing("claims")) == ["claims/zarr.json"]


@pytest.mark.slow
def test_killed_workers_lose_nothing_that_was_committed(
    alone: tuple[Path, dict[str, bytes]], checkpoint: Path, tmp_path: Path
) -> None:
    npz, expected = alone
    rng = random.Random(0)
    before: set[int] = set()
    for _ in range(2):
        workers = [start(npz, tmp_path / "s.zarr", checkpoint) for _ in range(2)]
        records = tmp_path / "s.zarr" / "commits"
        while len(list(records.glob("0*/zarr.json"))) <= len(before):
            assert all(worker.poll() is None for worker in workers)
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
        store = Store(tmp_path / "s.zarr")
        assert before < set(store.committed())
        assert verify(store) == []
        before = set(store.committed())
    assert store.pending(), "the kills came too late to prove anything"
    finish(start(npz, tmp_path / "s.zarr", checkpoint))
    assert array_objects(tmp_path / "s.zarr") == expected


@pytest.mark.slow
def test_ranks_take_their_own_shards_and_another_number_of_ranks_goes_on(
    alone: tuple[Path, dict[str, bytes]], checkpoint: Path, tmp_path: Path
) -> None:
    npz, expected = alone
    store = tmp_path / "s.zarr"
    output = finish(start(npz, store, checkpoint, RANK="1", WORLD_SIZE="3"))
    assert sorted(Store(store).commits) == [1, 4, 7, 10, 13, 16, 19]
    assert "Traceback" not in output
    workers = [start(npz, store, checkpoint, RANK=str(r), WORLD_SIZE="2") for r in range(2)]
    for worker in workers:
        finish(worker)
    assert array_objects(store) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Division(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Division(3, 8)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, Division(1, 4)),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"},
            Division(0, 2),
        ),
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "5",
            },
            Division(2, 4),
        ),
        ({"WORLD_SIZE": "4"}, Division(0, 1)),
    ],
)
def test_the_share_of_work_comes_from_the_launcher(
    environment: dict[str, str], expected: Division
) -> None:
    assert division(environment) == expected


@pytest.mark.parametrize("rank", ["4", "-1", "one"])
def test_a_rank_outside_the_job_is_refused(rank: str) -> None:
    with pytest.raises(ConfigError, match="RANK"):
        division({"RANK": rank, "WORLD_SIZE": "4"})


def test_every_shard_has_one_owner() -> None:
    for size in range(1, 6):
        owners = [[r for r in range(size) if Division(r, size).owns(s)] for s in range(20)]
        assert all(len(ranks) == 1 for ranks in owners)
