"""A process's part of a job follows from what its launcher says."""

import pytest

from samcache.cache.errors import ConfigError
from samcache.extract.pipeline.ranks import Division, choose_gpu, count_own_cores, find_division


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
        (
            {
                "SLURM_PROCID": "1",
                "SLURM_NTASKS": "2",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            Division(7, 8),
        ),
        ({"WORLD_SIZE": "4"}, Division(0, 1)),
    ],
)
def test_the_share_of_work_comes_from_the_launcher(
    environment: dict[str, str], expected: Division
) -> None:
    assert find_division(environment) == expected


@pytest.mark.parametrize("rank", ["4", "-1", "one"])
def test_a_rank_outside_the_job_is_refused(rank: str) -> None:
    with pytest.raises(ConfigError, match="RANK"):
        find_division({"RANK": rank, "WORLD_SIZE": "4"})


def test_every_shard_has_one_owner() -> None:
    for size in range(1, 6):
        owners = [[r for r in range(size) if Division(r, size).owns(s)] for s in range(20)]
        assert all(len(ranks) == 1 for ranks in owners)


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, 8, 0),
        ({"LOCAL_RANK": "3"}, 8, 3),
        ({"LOCAL_RANK": "3", "SLURM_LOCALID": "0"}, 8, 3),
        ({"SLURM_LOCALID": "5"}, 8, 5),
        ({"SLURM_LOCALID": "5"}, 1, 0),  # srun --gpus-per-task=1 shows each task its own alone
        ({"LOCAL_RANK": "1"}, 0, 0),
    ],
)
def test_each_process_of_a_machine_takes_its_own_gpu(
    environment: dict[str, str], gpus: int, expected: int
) -> None:
    assert choose_gpu(gpus, environment) == expected


def test_processes_of_a_machine_share_its_cores() -> None:
    assert count_own_cores({"LOCAL_WORLD_SIZE": "100000"}) == 1
    slurm = {"SLURM_NTASKS_PER_NODE": "100000", "SLURM_CPUS_PER_TASK": "2"}
    assert count_own_cores(slurm) == min(2, count_own_cores({})), (
        "the task was given these for itself"
    )
    assert count_own_cores({}) >= count_own_cores({"LOCAL_WORLD_SIZE": "2"}) >= 1


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, True),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, True),
        (
            {
                "RANK": "1",
                "WORLD_SIZE": "2",
                "SLURM_ARRAY_TASK_ID": "0",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            False,
        ),
    ],
)
def test_the_first_of_each_launcher_tells_what_the_store_holds(
    environment: dict[str, str], speaks: bool
) -> None:
    """A task of an array may be at work on a store of its own."""
    assert find_division(environment).speaks == speaks
