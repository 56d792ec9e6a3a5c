"""What a classifier is given of each level: its maps, how finely, and its spreads."""

from collections.abc import Iterable
from dataclasses import replace

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import Sides, image_side
from samcache.train.model.backbones import build_backbone
from samcache.train.model.spreads import spread_name
from samcache.train.model.stage_shapes import output_shapes
from samcache.train.tasks.splits import trained_classes

_LEAST = 4  # cells; with fewer there are hardly places


def given_sides(config: TrainConfig, store: Store) -> Sides:
    """Name -> side in cells of everything that a classifier is given: maps to gate by, spreads.

    Raises ConfigError where the store's pool does not allow what the options ask for.
    """
    levels = config.tapped(store.identity.levels)
    sides = _map_sides(config, store, levels)
    if config.join:
        read = levels or replace(config, attention="slca").tapped(store.identity.levels)
        sides |= {spread_name(level): 1 for level in read}
    return sides


def _map_sides(config: TrainConfig, store: Store, levels: Iterable[str]) -> Sides:
    if config.attention == "global":
        return dict.fromkeys(levels, 1)
    if config.attention == "per-location":
        return _every_cell(store, levels)
    if config.kernel is not None:
        return kernel_sides(store, levels, config.kernel)
    stages = _stage_sides(config, store)
    stored = _stored_sides(store, levels)
    return {level: coarsest(side, max(stages[level], _LEAST)) for level, side in stored.items()}


def kernel_sides(store: Store, levels: Iterable[str], kernel: int) -> Sides:
    """Level -> side once averaged over kernel x kernel of the encoder's own cells.

    Raises ConfigError where the store's pool does not divide the kernel, or the kernel a map.
    """
    pool, sides = store.identity.pool, _stored_sides(store, levels)
    for level, side in sides.items():
        if kernel % pool or side % (kernel // pool):
            raise ConfigError(
                f"--kernel {kernel} does not fit the store: its maps are pooled by {pool}, and "
                f"level {level} is {side * pool} cells wide before that; give a multiple of {pool} "
                "that divides it, or auto"
            )
    return {level: side * pool // kernel for level, side in sides.items()}


def coarsest(side: int, least: int) -> int:
    """The smallest side of at least ``least`` cells that equal blocks of a map's cells make."""
    return next((cells for cells in range(least, side) if side % cells == 0), side)


def _stored_sides(store: Store, levels: Iterable[str]) -> Sides:
    return {level: store.layout.level_shapes[level][1] for level in levels}


def _every_cell(store: Store, levels: Iterable[str]) -> Sides:
    pool = store.identity.pool
    if pool > 1:
        raise ConfigError(
            f"--attention per-location needs every cell, and {store.location} holds maps pooled by "
            f"{pool}: extract with --pool 1; the finest that this store allows is --attention slca "
            f"--kernel {pool}"
        )
    return _stored_sides(store, levels)


def _stage_sides(config: TrainConfig, store: Store) -> Sides:
    """Level -> side of the stage that it gates."""
    taps = config.tapped(store.identity.levels)
    side = image_side(store, config.image_size)
    classes = len(trained_classes(store))
    backbone = build_backbone(config.backbone, classes, side, stem=config.stem)
    paths = {level: backbone.path(stage) for level, stage in taps.items()}
    shapes = output_shapes(backbone, set(paths.values()), side)
    return {level: max(shapes[path][1:]) for level, path in paths.items()}
