"""How finely a classifier reads each level: cells of its maps, and its spreads."""

from collections.abc import Iterable
from dataclasses import replace

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.load import Sides, choose_image_side
from samcache.train.data.spreads import name_spread
from samcache.train.model.backbones import Backbone
from samcache.train.model.stage_shapes import find_output_shapes

_LEAST = 4  # cells; with fewer there are hardly places


def choose_sides(config: TrainConfig, store: Store, backbone: Backbone) -> Sides:
    """Name -> side in cells of everything that a classifier reads: maps to gate by, spreads.

    backbone: of the configuration; by default each map has as many cells as the stage it gates.
    Raises ConfigError where the store's pool does not allow the options.
    """
    levels = config.resolve_taps(store.identity.levels)
    sides = _choose_map_sides(config, store, backbone, levels)
    if config.join:
        read = levels or replace(config, attention="slca").resolve_taps(store.identity.levels)
        sides |= {name_spread(level): 1 for level in read}
    return sides


def _choose_map_sides(
    config: TrainConfig, store: Store, backbone: Backbone, taps: dict[str, str]
) -> Sides:
    if config.attention == "global":
        return dict.fromkeys(taps, 1)
    if config.attention == "per-location":
        return _keep_every_cell(store, taps)
    if config.kernel is not None:
        return divide_by_kernel(store, taps, config.kernel)
    side = choose_image_side(store, config.image_size)
    stages = _find_stage_sides(backbone, taps, side)
    stored = _list_stored_sides(store, taps)
    return {
        level: choose_coarsest(side, max(stages[level], _LEAST)) for level, side in stored.items()
    }


def divide_by_kernel(store: Store, levels: Iterable[str], kernel: int) -> Sides:
    """Level -> side once averaged over kernel x kernel of the encoder's own cells.

    Raises ConfigError where the store's pool does not divide the kernel, or the kernel a map.
    """
    sides = _list_stored_sides(store, levels)
    pools = {level: _find_pool(store, level) for level in sides}
    for level, side in sides.items():
        pool = pools[level]
        if kernel % pool or side % (kernel // pool):
            raise ConfigError(
                f"a kernel of {kernel} cells does not fit the store: its maps are pooled by "
                f"{pool}, and level {level} is {side * pool} cells wide before that; give a "
                f"multiple of {pool} that divides {side * pool}, or auto",
                hint="kernel",
            )
    return {level: side * pools[level] // kernel for level, side in sides.items()}


def choose_coarsest(side: int, least: int) -> int:
    """The smallest side of at least ``least`` cells that equal blocks of a map's cells make."""
    return next((cells for cells in range(least, side) if side % cells == 0), side)


def _find_pool(store: Store, level: str) -> int:
    part, _ = store.find_level(level)
    return part.identity.pool


def _list_stored_sides(store: Store, levels: Iterable[str]) -> Sides:
    return {level: store.layout.level_shapes[level][1] for level in levels}


def _keep_every_cell(store: Store, levels: Iterable[str]) -> Sides:
    pooled = [level for level in levels if _find_pool(store, level) > 1]
    if pooled:
        part, _ = store.find_level(pooled[0])
        pool = part.identity.pool
        raise ConfigError(
            f"attention per-location needs every cell, and {part.location} holds maps pooled by "
            f"{pool}: extract the store with pool 1; the finest that this store allows is "
            f"attention slca with kernel {pool}",
            hint="attention kernel",
        )
    return _list_stored_sides(store, levels)


def _find_stage_sides(backbone: Backbone, taps: dict[str, str], image_side: int) -> Sides:
    """Level -> side of the stage that it gates."""
    paths = {level: backbone.path(stage) for level, stage in taps.items()}
    shapes = find_output_shapes(backbone, set(paths.values()), image_side)
    return {level: max(shapes[path][1:]) for level, path in paths.items()}
