"""From what a store keeps to what a classifier reads: for training, predict and exports alike."""

from collections.abc import Iterable, Mapping

from torch import Tensor
from torch.nn import functional as F

from samcache.train.data.spreads import compute_spreads, find_level, is_spread

MapShape = tuple[int, int, int]  # C, h, w


def prepare_map(name: str, maps: Tensor, side: int) -> Tensor:
    """A classifier's input of a name, from the maps (n, C, h, w) that a store keeps of its level.

    Averages over equal blocks, (n, C, side, side), or spreads (n, C, 1, 1), rounded to the dtype
    of the maps.
    """
    if is_spread(name):
        return compute_spreads(maps).to(maps.dtype)
    factor = maps.shape[-1] // side
    return maps if factor == 1 else F.avg_pool2d(maps.float(), factor).to(maps.dtype)


def prepare_maps(maps: Mapping[str, Tensor], shapes: Mapping[str, MapShape]) -> dict[str, Tensor]:
    """``prepare_map`` for every name in shapes, the (C, h, w) of a run's inputs; maps by level."""
    return {name: prepare_map(name, maps[find_level(name)], shapes[name][1]) for name in shapes}


def group_by_level(names: Iterable[str]) -> dict[str, list[str]]:
    """Level -> the inputs made of its maps."""
    levels: dict[str, list[str]] = {}
    for name in names:
        levels.setdefault(find_level(name), []).append(name)
    return levels
