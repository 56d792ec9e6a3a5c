"""``samcache sweep``: many trainings from one loaded store, in search of the best on validation.

The test split has no part in it: what is trained here has no test rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from samcache.cache.errors import ConfigError
from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.cache.store import Store
from samcache.train.config import GATES_ALONE, TrainConfig
from samcache.train.data.controls import choose_features
from samcache.train.data.dataset import IDENTITY, TrainingData
from samcache.train.data.load import InputPlan, Sides, choose_image_side, load_where_it_fits
from samcache.train.data.open_stores import open_stores
from samcache.train.data.scaling import scale_inputs
from samcache.train.fit.build import draw_backbone
from samcache.train.fit.distributed import choose_device, count_processes_here
from samcache.train.fit.memory import TooLargeError
from samcache.train.fit.precision import forbid_tf32, resolve_precision
from samcache.train.fit.training import DivergedError, EpochMetrics, train_member
from samcache.train.model.pooling import choose_sides
from samcache.train.model.stage_shapes import run_once
from samcache.train.run import describe_run
from samcache.train.search.dimensions import DEFAULT_SEARCH, Dimension, parse_search
from samcache.train.search.trials import OnSweep, Pruned, Trials, TrialsTable, ignore_sweep
from samcache.train.tasks.trainings import Trainings, plan_trainings

_BACKBONE = ("backbone", "stem")
_READING = ("taps", "kernel", "join")
_SHAPING = _BACKBONE + _READING  # the options that decide which maps a trial reads
_PROGRAMS = 1024  # that --compile makes in all; by torch's default what two or three designs take


@dataclass(frozen=True)
class SweepConfig:
    """base: what all trainings share, with one seed, its ``out`` the folder of the sweep."""

    base: TrainConfig
    dimensions: tuple[Dimension, ...]  # none of them: DEFAULT_SEARCH
    trials: int  # finished ones to reach, whoever runs them


def sweep(
    config: SweepConfig,
    on_remark: OnRemark = ignore_remark,
    on_progress: OnSweep = ignore_sweep,
    on_copy: OnProgress = ignore_progress,
) -> TrialsTable:
    """Run trials until so many are finished; raises SamcacheError.

    on_copy: called while a store at a URL is copied to the local disk.
    """
    store = open_stores(config.base, on_remark, on_copy)
    dimensions, device = _choose_dimensions(config), choose_device(config.base.device)
    precision = resolve_precision(config.base.precision, device)
    base = replace(config.base, device=str(device))
    forbid_tf32()
    if base.compile:  # whose machinery takes a second to import
        torch._dynamo.config.recompile_limit = _PROGRAMS
    planned = plan_trainings(store, base.seeds, task=base.task)
    for line in planned.question.notes:
        on_remark(Remark(line))
    for remark in planned.remarks:
        on_remark(Remark(f"warning: {remark}"))
    (member,) = planned.members
    planned = replace(planned, members=[replace(member, test=member.test[:0])])
    inputs = _SharedInputs(store, planned, base, dimensions, on_remark)
    description = inputs.describe() | {"search": [str(d) for d in dimensions]}

    def train(options: TrainConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        options = replace(options, device=base.device, precision=precision)
        data, taps = inputs.load(options), options.resolve_taps(store.identity.levels)
        try:
            train_member(inputs.member, data, options, taps, on_epoch)
        except (DivergedError, TooLargeError) as error:
            raise Pruned(str(error)) from None  # without what its frames hold of the GPU's memory

    trials = Trials(config.base, dimensions, description, planned.question.target)
    return trials.run(config.trials, train, on_progress)


def _choose_dimensions(config: SweepConfig) -> tuple[Dimension, ...]:
    """What varies; raises ConfigError where it could change nothing."""
    attention = config.base.attention
    idle = {"none": GATES_ALONE, "global": ("kernel",), "per-location": ("kernel",)}
    without = idle.get(attention, ())
    for dimension in config.dimensions:
        if dimension.name in without:
            raise ConfigError(
                f"a search over {dimension.name} changes nothing with attention {attention}",
                hint="search attention",
            )
    defaults = (d for d in parse_search(DEFAULT_SEARCH) if d.name not in without)
    return config.dimensions or tuple(defaults)


_Choice = tuple[Any, ...]  # values of _SHAPING


class _SharedInputs:
    """The images, read once for all trials, and each level's maps, once for every side.

    Raises ConfigError where a classifier of the search cannot be built.
    """

    def __init__(
        self,
        store: Store,
        planned: Trainings,
        base: TrainConfig,
        dimensions: tuple[Dimension, ...],
        on_remark: OnRemark,
    ) -> None:
        (self.member,) = planned.members
        self._on_remark, self._base = on_remark, base
        side = choose_image_side(store, base.image_size)
        views = store.identity.views if base.augment else IDENTITY
        self._plan = InputPlan(store, planned.question, {}, side, views)
        self._sides = dict(self._find_sides(dimensions))
        self._images: TrainingData | None = None
        self._maps: dict[tuple[str, int], TrainingData] = {}

    def describe(self) -> dict[str, Any]:
        """Everything but the search that decides a trial's result."""
        return describe_run(self._base, self._plan, [self.member])

    def load(self, options: TrainConfig) -> TrainingData:
        """What a trial with these options is given."""
        wanted = self._sides[_read_choice(options, _SHAPING)]
        missing = {level: side for level, side in wanted.items() if (level, side) not in self._maps}
        if self._images is None or missing:
            data = self._load_missing(options, missing)
            self._images = self._images or replace(data, pooled={}, scales={})
            self._maps |= dict.fromkeys(missing.items(), data)
        held = {level: self._maps[level, side] for level, side in wanted.items()}
        return replace(
            self._images,
            pooled={level: data.pooled[level] for level, data in held.items()},
            scales={level: data.scales[level] for level, data in held.items()},
        )

    def _load_missing(self, options: TrainConfig, sides: Sides) -> TrainingData:
        plan = replace(self._plan, sides=sides)
        data = load_where_it_fits(plan, options, self._on_remark, count_processes_here())
        if self._images is not None:  # they are the same
            data = replace(data, images=self._images.images)
        data = scale_inputs(data, self._plan.store, self.member.train)
        return choose_features(data, self.member, options.attention)

    def _find_sides(self, dimensions: tuple[Dimension, ...]) -> Iterator[tuple[_Choice, Sides]]:
        """The sides of every trial's maps, each backbone of the search built once."""
        plan, seed = self._plan, self.member.seed
        for design in _vary(self._base, dimensions, _BACKBONE):
            drawn = draw_backbone(design, plan.question.target.logits, plan.image_side, seed)
            run_once(drawn.backbone, plan.image_side)
            for options in _vary(design, dimensions, _READING):
                sides = choose_sides(options, plan.store, drawn.backbone)
                yield _read_choice(options, _SHAPING), sides


def _vary(
    base: TrainConfig, dimensions: tuple[Dimension, ...], names: tuple[str, ...]
) -> Iterator[TrainConfig]:
    """Every combination of the values that a search has of some options."""
    values = {dimension.name: dimension.values for dimension in dimensions}
    for chosen in product(*(values.get(name, (getattr(base, name),)) for name in names)):
        yield replace(base, **dict(zip(names, chosen, strict=True)))


def _read_choice(options: TrainConfig, names: tuple[str, ...]) -> _Choice:
    return tuple(getattr(options, name) for name in names)
