"""``samcache sweep``: many trainings from one loaded store, in search of the best on validation.

The test split has no part in it: what is trained here has no test rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from rich.console import Console

from samcache.cache.care.stage import stage_store
from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.config import GATES_ALONE, TrainConfig
from samcache.train.data.dataset import Sides, TrainingData, scaled_to
from samcache.train.fit.distributed import own_device
from samcache.train.fit.memory import TooLargeError
from samcache.train.fit.precision import forbid_tf32, resolved_precision
from samcache.train.fit.training import DivergedError, EpochMetrics, train_member
from samcache.train.model.pooling import given_sides
from samcache.train.run import check_backbone, decisive, given_maps, loaded
from samcache.train.search.dimensions import DEFAULT_SEARCH, Dimension, parse_search
from samcache.train.search.trials import Pruned, Trials, TrialsTable
from samcache.train.tasks.splits import Member
from samcache.train.tasks.trainings import plan_trainings, warn

_BACKBONE = ("backbone", "stem")
_PROGRAMS = 1024  # that --compile makes in all; by torch's default what two or three designs take


@dataclass(frozen=True)
class SweepConfig:
    """base: what all trainings share, with one seed, its ``out`` the folder of the sweep."""

    base: TrainConfig
    dimensions: tuple[Dimension, ...]  # none of them: DEFAULT_SEARCH
    trials: int  # finished ones to reach, whoever runs them


def sweep(config: SweepConfig, console: Console) -> TrialsTable:
    """Run trials until so many are finished; raises SamcacheError."""
    store = stage_store(
        Store(config.base.store),
        partial(console.print, markup=False, highlight=False, soft_wrap=True),
    )
    dimensions = _dimensions(config)
    base, device = config.base, own_device(config.base.device)
    precision = resolved_precision(base.precision, device)
    forbid_tf32()
    if base.compile:  # whose machinery takes a second to import
        torch._dynamo.config.recompile_limit = _PROGRAMS
    trainings = plan_trainings(store, base.seeds)
    warn(console, trainings.remarks)
    (planned,) = trainings.members
    member = replace(planned, test=planned.test[:0])
    _check_buildable(base, dimensions, store)
    held = _HeldInputs(store, member, console)
    description = decisive(base, store, [member]) | {"search": [str(d) for d in dimensions]}

    def train(asked: TrainConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        options = replace(asked, device=str(device), precision=precision)
        data, taps = held.inputs(options), options.tapped(store.identity.levels)
        try:
            train_member(member, data, options, taps, on_epoch)
        except (DivergedError, TooLargeError) as error:
            raise Pruned(str(error)) from None  # without what its frames hold of the GPU's memory

    return Trials(base, dimensions, description, console).run(config.trials, train)


def _dimensions(config: SweepConfig) -> tuple[Dimension, ...]:
    """What varies; raises ConfigError where it could change nothing."""
    attention = config.base.attention
    idle = {"none": GATES_ALONE, "global": ("kernel",), "per-location": ("kernel",)}
    without = idle.get(attention, ())
    for dimension in config.dimensions:
        if dimension.name in without:
            raise ConfigError(f"--search {dimension.name}: nothing with --attention {attention}")
    defaults = (d for d in parse_search(DEFAULT_SEARCH) if d.name not in without)
    return config.dimensions or tuple(defaults)


def _check_buildable(base: TrainConfig, dimensions: tuple[Dimension, ...], store: Store) -> None:
    """Raise ConfigError before the first trial where a classifier of the search cannot be built."""
    for options in _varied(base, dimensions, _BACKBONE):
        check_backbone(options, store)
    for options in _varied(base, dimensions, (*_BACKBONE, "taps", "kernel")):
        given_sides(options, store)


def _varied(
    base: TrainConfig, dimensions: tuple[Dimension, ...], names: tuple[str, ...]
) -> Iterator[TrainConfig]:
    """Every combination of what a search has of some options."""
    values = {dimension.name: dimension.values for dimension in dimensions}
    for chosen in product(*(values.get(name, (getattr(base, name),)) for name in names)):
        yield replace(base, **dict(zip(names, chosen, strict=True)))


class _HeldInputs:
    """The images, read once for all trials, and each level's maps, once for every side."""

    def __init__(self, store: Store, member: Member, console: Console) -> None:
        self._store, self._member, self._console = store, member, console
        self._images: TrainingData | None = None
        self._maps: dict[tuple[str, int], TrainingData] = {}

    def inputs(self, options: TrainConfig) -> TrainingData:
        """What a trial with these options is given."""
        wanted = given_sides(options, self._store)
        missing = {level: side for level, side in wanted.items() if (level, side) not in self._maps}
        if self._images is None or missing:
            data = self._loaded(options, missing)
            self._images = self._images or replace(data, pooled={}, scales={})
            self._maps |= dict.fromkeys(missing.items(), data)
        held = {level: self._maps[level, side] for level, side in wanted.items()}
        return replace(
            self._images,
            pooled={level: data.pooled[level] for level, data in held.items()},
            scales={level: data.scales[level] for level, data in held.items()},
        )

    def _loaded(self, options: TrainConfig, sides: Sides) -> TrainingData:
        data = loaded(options, self._store, sides, self._console).to(torch.device(options.device))
        if self._images is not None:  # they are the same
            data = replace(data, images=self._images.images)
        data = scaled_to(data, self._store, self._member.train)
        return given_maps(data, self._member, options)
