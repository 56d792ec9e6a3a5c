"""Several processes fill one store: killed or not, it ends as a single one would have left it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from forked import ForkedProcess, start_ranks
from tiny_cli import run_command
from tiny_extraction import write_npz

from samcache.cache.care.verify import verify
from samcache.cache.store import Store

SCRIPT = Path(__file__).parents[1] / "helpers" / "tiny_cli.py"
IMAGES, SHARD = 160, 8

Objects = dict[str, bytes]
Process = ForkedProcess | subprocess.Popen[str]


def array_objects(store: Path) -> Objects:
    """Every object of the arrays; what a killed process was writing (name#1) is none."""
    paths = (path for path in sorted(store.rglob("*")) if path.is_file() and "#" not in path.name)
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in paths if p.name != "zarr.json"}


class Job:
    """Starts extractions of one source, alone or under torchrun."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.npz = write_npz(folder / "toy.npz", (96, 32, 32))
        self.checkpoint = checkpoint

    def start(self, store: Path, pause: float = 0.0) -> ForkedProcess:
        """A process of its own."""
        folder = store.parent / f"printed-{uuid4()}"
        return ForkedProcess(run_command, [str(pause), *self.words(store)], folder)

    def launch(self, store: Path, ranks: int, pause: float = 0.0) -> subprocess.Popen[str]:
        """A torchrun of so many ranks."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(SCRIPT.parent),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "140",  # a bar in one line
        }
        return subprocess.Popen(
            [sys.executable, *torchrun, str(SCRIPT), str(pause), *self.words(store)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def words(self, store: Path) -> list[str]:
        """Of a command that extracts into a store."""
        words = ["extract", self.npz, "--store", store, "--encoder", "vit_tiny", "--pool", 2]
        words += ["--checkpoint", self.checkpoint, "--shard-rows", SHARD, "--batch-size", 4]
        return [str(word) for word in [*words, "--device", "cpu"]]


@pytest.fixture(scope="module")
def job(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"), checkpoint)


@pytest.fixture(scope="module")
def alone(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """What a single process makes of the source."""
    store = tmp_path_factory.mktemp("alone") / "alone.zarr"
    finish(job.start(store))
    return array_objects(store)


def commits(store: Path) -> int:
    return len(list(store.glob("commits/0*/zarr.json")))


def finish(process: Process) -> str:
    """Wait for the end of a process that should end well; what it printed."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output + errors


def wait_for_commits(store: Path, count: int, process: Process) -> None:
    while commits(store) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def children(process: int) -> list[int]:
    """Processes that a process has started, lowest rank first."""
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.slow
def test_processes_without_a_launcher_share_the_work_though_one_is_killed(
    job: Job, alone: Objects, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    killed = job.start(store, pause=0.1)
    wait_for_commits(store, 1, killed)
    others = [job.start(store) for _ in range(2)]
    wait_for_commits(store, 2, killed)
    killed.kill()
    killed.communicate()
    for other in others:
        finish(other)
    assert array_objects(store) == alone
    assert Store(store).list_pending() == []
    assert verify(Store(store)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks a worker up in /proc")
def test_a_lost_worker_costs_its_shards_in_flight_and_another_world_size_goes_on(
    job: Job, alone: Objects, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    torchrun = job.launch(store, 2, pause=0.1)
    wait_for_commits(store, 4, torchrun)
    os.kill(children(torchrun.pid)[1], signal.SIGKILL)
    _, errors = torchrun.communicate(timeout=120)
    assert torchrun.returncode != 0
    assert "Stopped by SIGTERM" in errors, "torchrun ends the worker that was left"
    done = commits(store)
    assert 4 <= done < IMAGES // SHARD, "the kill came too late"
    assert verify(Store(store)) == []

    ranks = start_ranks(run_command, ["0", *job.words(store)], tmp_path / "printed", size=3)
    output = "".join([finish(process) for process in ranks])
    assert array_objects(store) == alone
    assert verify(Store(store)) == []
    encoded = [int(n) for n in re.findall(r"(\d+) encoded by rank \d of 3", output)]
    assert sum(encoded) == IMAGES - SHARD * done
    assert output.count("elapsed,") == 1, "one bar for the job"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_is_told_to_end_gives_its_claims_up(
    job: Job, alone: Objects, tmp_path: Path, number: int, status: int
) -> None:
    store = tmp_path / "s.zarr"
    process = job.start(store, pause=0.2)
    wait_for_commits(store, 1, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)  # the grace that launchers give
    assert process.returncode == status
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert list(Store(store).objects.list_objects("claims")) == ["claims/zarr.json"]
    assert 0 < commits(store) < IMAGES // SHARD
    if status == 143:
        finish(job.start(store))
        assert array_objects(store) == alone
