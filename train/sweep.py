"""``samcache sweep``: many trainings from one loaded store, in search of the best on validation.

The test split has no part in it: what is trained here has no test rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from samcache.cache.errors import ConfigError
from samcache.cache.stage import staged
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.controls import resolved_kernel
from samcache.train.data import TrainingData, scaled_to
from samcache.train.loop import DivergedError, EpochMetrics, train_member
from samcache.train.precision import resolved_precision
from samcache.train.run import decisive, given_maps, loaded
from samcache.train.search import DEFAULT_SEARCH, Dimension, parse_search
from samcache.train.splits import Member, plan_members, readable_samples
from samcache.train.trials import Pruned, Trials, TrialsTable

_GATES_ALONE = ("taps", "reduction", "fusion")  # nothing without attention


@dataclass(frozen=True)
class SweepConfig:
    """base: what all trainings share, with one seed, its ``out`` the folder of the sweep."""

    base: TrainConfig
    dimensions: tuple[Dimension, ...]  # none of them: DEFAULT_SEARCH
    trials: int  # finished ones to reach, whoever runs them


def sweep(config: SweepConfig, console: Console) -> TrialsTable:
    """Run trials until so many are finished; raises SamcacheError."""
    store = staged(Store(config.base.store), console)
    dimensions = _dimensions(config)
    reading = replace(config.base, join=_joins(config.base, dimensions))
    base = replace(config.base, kernel=resolved_kernel(reading, store))
    precision = resolved_precision(base.precision, torch.device(base.device))
    samples, classes = readable_samples(store), store.dataset.classes
    (planned,) = plan_members(samples, classes, base.seeds)
    member = replace(planned, test=planned.test[:0])
    inputs = _inputs(base, dimensions, store, member, console)
    description = decisive(base, store, [member]) | {"search": [str(d) for d in dimensions]}

    def train(options: TrainConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        data, taps = inputs(options)
        try:
            train_member(member, data, replace(options, precision=precision), taps, on_epoch)
        except DivergedError as error:
            raise Pruned(str(error)) from error

    return Trials(base, dimensions, description, console).run(config.trials, train)


def _dimensions(config: SweepConfig) -> tuple[Dimension, ...]:
    """What varies; raises ConfigError where it could change nothing."""
    attention = config.base.attention
    without_features = () if _joins(config.base, config.dimensions) else ("kernel",)
    idle = {"none": (*_GATES_ALONE, *without_features)}
    idle |= {"global": ("kernel",), "per-location": ("kernel",)}
    without = idle.get(attention, ())
    for dimension in config.dimensions:
        if dimension.name in without:
            raise ConfigError(f"--search {dimension.name}: nothing with --attention {attention}")
    defaults = (d for d in parse_search(DEFAULT_SEARCH) if d.name not in without)
    return config.dimensions or tuple(defaults)


def _joins(base: TrainConfig, dimensions: tuple[Dimension, ...]) -> bool:
    """Whether any training may have the joined head, which reads features without attention."""
    return base.join or any(dimension.name == "join" for dimension in dimensions)


def _inputs(
    base: TrainConfig,
    dimensions: tuple[Dimension, ...],
    store: Store,
    member: Member,
    console: Console,
) -> Callable[[TrainConfig], tuple[TrainingData, dict[str, str]]]:
    """Load the store once, pooled to every kernel of the search; what a trial is given of it."""
    values = {dimension.name: dimension.values for dimension in dimensions}
    levels = store.identity.levels
    used: set[str] = set()
    for taps in values.get("taps", (base.taps,)):
        reading = replace(base, taps=taps, join=_joins(base, dimensions))
        used |= set(reading.levels(levels))
    by_kernel: dict[int | None, TrainingData] = {}
    for kernel in values.get("kernel", (base.kernel,)):
        wanted = tuple(level for level in levels if level in used)
        data = loaded(replace(base, kernel=kernel), store, wanted, console)
        if by_kernel:  # the images are the same
            data = replace(data, images=next(iter(by_kernel.values())).images)
        data = scaled_to(data.to(torch.device(base.device)), store, member.train)
        by_kernel[kernel] = given_maps(data, member, base)

    def given(options: TrainConfig) -> tuple[TrainingData, dict[str, str]]:
        data, taps = by_kernel[options.kernel], options.tapped(levels)
        pooled = {level: data.pooled[level] for level in options.levels(levels)}
        return replace(data, pooled=pooled), taps

    return given
