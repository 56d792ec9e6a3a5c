"""Which part of a job this process is, from what torchrun or Slurm say about it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from samcache.cache.errors import ConfigError

# rank, size and first rank; torchrun's count before those of the srun that may have started it
_LAUNCHERS = (("RANK", "WORLD_SIZE", None), ("SLURM_PROCID", "SLURM_NTASKS", None))
_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
_LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")
_LOCAL_SIZES = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE")
_READERS = 32  # a GPU may take 320 images a second, and a core reads 15 of 3000 x 2000


@dataclass(frozen=True)
class Division:
    """Worker ``rank`` of ``size``: shard s is first of all for worker s mod size.

    speaks: whether it tells what the store holds: the first of those that one launcher started, so
    each task of an array, which may as well be at work on a store of its own.
    """

    rank: int = 0
    size: int = 1
    speaks: bool = field(default=True, compare=False)

    def owns(self, shard: int) -> bool:
        """Whether a shard is this worker's."""
        return shard % self.size == self.rank


def find_division(environment: Mapping[str, str] = os.environ) -> Division:
    """Find this process's share of a job; everything if no launcher set the variables.

    In a job array whose tasks have several ranks each, all ranks of all tasks are counted. Slurm
    numbers an array's tasks by steps of 1 from any start. Raises ConfigError where rank and
    size do not fit each other.
    """
    found = (_share(environment, *names) for names in _LAUNCHERS)
    within = next((share for share in found if share.size > 1), Division())
    task = _share(environment, *_ARRAY)
    rank, size = task.rank * within.size + within.rank, task.size * within.size
    return Division(rank, size, speaks=within.rank == 0)


def _share(
    environment: Mapping[str, str], rank_name: str, size_name: str, start_name: str | None
) -> Division:
    if size_name not in environment or rank_name not in environment:
        return Division()
    try:
        start = int(environment.get(start_name, "0")) if start_name else 0
        found = Division(int(environment[rank_name]) - start, int(environment[size_name]))
    except ValueError:
        texts = f"{environment[rank_name]!r} and {environment[size_name]!r}"
        raise ConfigError(
            f"{rank_name} and {size_name} should be whole numbers, and are {texts}: let a launcher "
            "set them, or unset them"
        ) from None
    if not 0 <= found.rank < found.size:
        advice = "number array tasks by steps of 1" if start_name else "ranks go from 0 to size - 1"
        raise ConfigError(
            f"{rank_name} {environment[rank_name]} and {size_name} {found.size} do not match: "
            f"{advice}"
        )
    return found


def choose_gpu(gpus: int, environment: Mapping[str, str] = os.environ) -> int:
    """Choose this process's GPU by its place among the processes of its machine.

    A launcher may show each process one GPU alone, which then is number 0 for all of them.
    """
    return _read_first_number(environment, _LOCAL_RANKS, 0) % max(1, gpus)


def count_own_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Count this process's share of the CPU cores that it may run on, at least 1.

    Slurm gives each task cores of its own where it was asked for a number of them.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux; knows of containers and cgroups
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    own = _read_first_number(environment, ("SLURM_CPUS_PER_TASK",), 0)
    if own and "LOCAL_WORLD_SIZE" not in environment:
        return min(cores, own)
    return max(1, cores // max(1, _read_first_number(environment, _LOCAL_SIZES, 1)))


def count_reading_threads() -> int:
    """Count the threads that read, decode and scale images in this process."""
    return min(_READERS, count_own_cores())


def _read_first_number(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    found = (environment.get(name, "") for name in names)
    return next((int(text) for text in found if text.isdecimal()), default)
