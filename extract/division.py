"""Which shards this process works on, from what torchrun or Slurm say about it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from samcache.cache.errors import ConfigError

# rank and size, the first pair that is set counts; an array's first task need not be 0
_VARIABLES = (
    ("RANK", "WORLD_SIZE", None),
    ("SLURM_PROCID", "SLURM_NTASKS", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
)


@dataclass(frozen=True)
class Division:
    """Worker ``rank`` of ``size``: shard s belongs to worker s mod size."""

    rank: int = 0
    size: int = 1

    def owns(self, shard: int) -> bool:
        """Whether a shard is this worker's."""
        return shard % self.size == self.rank


def division(environment: Mapping[str, str] = os.environ) -> Division:
    """This process's share; everything where no launcher set the variables.

    Slurm numbers an array's tasks by steps of 1 from any start. Raises ConfigError where rank and
    size do not fit each other.
    """
    for rank_name, size_name, start_name in _VARIABLES:
        if size_name in environment and rank_name in environment:
            try:
                start = int(environment.get(start_name, "0")) if start_name else 0
                found = Division(int(environment[rank_name]) - start, int(environment[size_name]))
            except ValueError:
                raise ConfigError(f"{rank_name} and {size_name} should be whole numbers") from None
            if not 0 <= found.rank < found.size:
                raise ConfigError(
                    f"{rank_name} {environment[rank_name]} and {size_name} {found.size} do not "
                    "fit: number array tasks by steps of 1"
                )
            if found.size > 1:
                return found
    return Division()
