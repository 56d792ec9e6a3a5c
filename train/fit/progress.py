"""How far a run's trainings are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from samcache.train.fit.training import EpochMetrics


@dataclass(frozen=True)
class TrainingProgress:
    """Epochs done of all members of a run, and the metrics of the last one, if any."""

    done: int
    total: int
    last: EpochMetrics | None = None


OnTraining: TypeAlias = Callable[[TrainingProgress], None]


def ignore_training(progress: TrainingProgress) -> None:
    """An OnTraining for callers that show nothing."""
