"""From a store to training data: what is read, how much memory it takes, and the reading itself."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from samcache.cache.care.verify import verify
from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.format.layout import EXTENTS
from samcache.cache.progress import OnRemark, Remark
from samcache.cache.store import Store
from samcache.cache.text import describe_bytes
from samcache.train.config import TrainConfig
from samcache.train.data.controls import fill_with_noise
from samcache.train.data.dataset import IDENTITY, Scale, TrainingData
from samcache.train.data.prepare_inputs import MapShape, group_by_level, prepare_map
from samcache.train.data.residency import allocate, choose_residency
from samcache.train.data.resize import share_resize
from samcache.train.data.spreads import find_level
from samcache.train.tasks.options import STORE_LABELS
from samcache.train.tasks.question import Question, ask
from samcache.train.tasks.splits import Rows

Sides = dict[str, int]  # level -> cells on a side of its maps; name of its spreads -> 1

_CPU = torch.device("cpu")
_DEFAULT_IMAGE_SIZE = 224
_READERS = 4
_PREPARED = 16  # samples whose images and maps are in float64 at a time


@dataclass(frozen=True)
class InputPlan:
    """What trainings read of a store.

    question: to its n readable samples. sides: cells on a side of each level's maps. image_side: of
    the classifier's images. views: the first, or all, of the store's.
    """

    store: Store
    question: Question
    sides: Sides
    image_side: int
    views: tuple[str, ...] = IDENTITY

    @classmethod
    def of(
        cls,
        store: Store,
        sides: Sides,
        image_size: int | None,
        views: tuple[str, ...] = IDENTITY,
    ) -> "InputPlan":
        """A plan for all samples with a label; raises ConfigError where a store has no images."""
        side = choose_image_side(store, image_size)
        return cls(store, ask(store, STORE_LABELS).select_readable(), sides, side, views)

    @property
    def samples(self) -> pd.DataFrame:
        """The n samples that are read."""
        return self.question.samples

    def find_map_shape(self, name: str) -> MapShape:
        """The shape (C, h, w) of an input's maps."""
        side = self.sides[name]
        return self.store.layout.level_shapes[find_level(name)][0], side, side

    def find_dtype(self, name: str) -> str:
        """The type of an input's maps, such as "float16"."""
        part, _ = self.store.find_level(find_level(name))
        return part.identity.dtype

    def count_bytes(self) -> int:
        """Bytes of the images and maps that ``load_training_data`` returns."""
        maps = sum(
            math.prod(self.find_map_shape(name)) * np.dtype(self.find_dtype(name)).itemsize
            for name in self.sides
        )
        return len(self.samples) * (3 * self.image_side**2 + len(self.views) * maps)


def load_training_data(
    plan: InputPlan, residency: str = "memory", device: torch.device = _CPU
) -> TrainingData:
    """Read a store's images and maps, averaged to the cells of the plan, shard by shard.

    With residency "device" images and maps are read to the device; ``TrainingData.to`` brings the
    rest there. No value is scaled: ``scale_inputs`` finds the scales for a member's rows. Raises
    StoreError where objects are damaged.
    """
    store, samples, side, views = plan.store, plan.samples, plan.image_side, plan.views
    for part in store.parts:
        _refuse_damage(part)
    place = residency, device
    images = allocate((len(samples), 3, side, side), torch.uint8, *place)
    shown = len(samples) * len(views)
    pooled = {
        name: allocate(
            (shown, *plan.find_map_shape(name)), getattr(torch, plan.find_dtype(name)), *place
        )
        for name in plan.sides
    }
    rows = samples["row"].to_numpy()

    def fill(shard: int) -> None:
        start, stop = store.commits[shard].rows
        first, last = np.searchsorted(rows, (start, stop))
        keep = torch.from_numpy(rows[first:last] - start)
        raw = torch.from_numpy(store.read_images(start, stop))[keep]
        resized = torch.split(images[first:last], _PREPARED)
        for target, part in zip(resized, torch.split(raw, _PREPARED), strict=True):
            target.copy_(_resize(part, side))
        for level, wanted in group_by_level(plan.sides).items():
            maps = torch.from_numpy(store.read_features(level, start, stop))
            chosen = maps[keep, : len(views)].flatten(0, 1)
            for name in wanted:
                own = pooled[name][first * len(views) : last * len(views)]
                targets, parts = torch.split(own, _PREPARED), torch.split(chosen, _PREPARED)
                for target, part in zip(targets, parts, strict=True):
                    target.copy_(prepare_map(name, part, plan.sides[name]))

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(fill, store.commits))
    labels = torch.from_numpy(plan.question.labels.copy())
    target = plan.question.target
    data = TrainingData(
        samples, target, images, Scale.none(3), pooled, {}, labels, residency, views
    )
    if len(views) > 1:
        data = replace(data, extents=_read_extents(store, rows, side))
    return data


def _refuse_damage(store: Store) -> None:
    damage = verify(store, fast=True)
    if damage:
        raise StoreError(
            f"{store.location}: {damage[0].key} {damage[0].problem} (damaged objects in all: "
            f"{len(damage)}): samcache cache verify lists them"
        )


def load_where_it_fits(
    plan: InputPlan, config: TrainConfig, on_remark: OnRemark, processes: int
) -> TrainingData:
    """Read a plan's data, once for all trainings, to the first place with room; says where.

    processes: how many on this machine load the same. For the control "random" the maps are noise.
    Raises ConfigError where no place has room.
    """
    device, need = torch.device(config.device), plan.count_bytes()
    residency = choose_residency(need, device, config.residency, processes)
    place = {"device": f"on {device}", "memory": "in memory", "disk": "on disk, mapped to memory"}
    on_remark(Remark(f"images and features: {describe_bytes(need)}, {place[residency]}"))
    data = load_training_data(plan, residency, device)
    if config.attention == "random":
        fill_with_noise(data)
    return data.to(device)


def read_inputs(
    store: Store, shard: int, rows: Rows, shapes: Mapping[str, MapShape], side: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images and maps of some rows of a committed shard, as ``load_training_data`` has them.

    rows: (n,) of the arrays' first axis; shapes: the (C, h, w) of what is wanted.
    Returns (n, 3, side, side) uint8 and name -> (n, C, h, w) in the store's dtype. Raises
    StoreError where objects are damaged.
    """
    start, stop = store.commits[shard].rows
    keep = torch.from_numpy(rows - start)
    images = _resize(torch.from_numpy(store.read_images(start, stop))[keep], side)
    pooled = {}
    for level, names in group_by_level(shapes).items():
        maps = torch.from_numpy(store.read_features(level, start, stop))[keep, 0]
        for name in names:
            parts = [prepare_map(name, p, shapes[name][1]) for p in torch.split(maps, _PREPARED)]
            pooled[name] = torch.cat(parts)
    return images, pooled


def choose_image_side(store: Store, image_size: int | None) -> int:
    """The side of the classifier's images; None means the cache's, up to 224.

    Raises ConfigError where the store has no cached images.
    """
    if not store.identity.frame_size:
        raise ConfigError(
            f"{store.location} was extracted without images, and training needs them: extract the "
            "store again with images"
        )
    return image_size or min(store.identity.frame_size, _DEFAULT_IMAGE_SIZE)


def _read_extents(store: Store, rows: npt.NDArray[np.int64], side: int) -> Tensor:
    """Height and width of some rows' images in squares of ``side``, (n, 2) int64.

    Exact at the cache's own size; at another, an edge is rounded to a whole pixel.
    """
    cached = store.read(EXTENTS, 0, store.layout.rows)[rows]
    scaled = cached * (side / store.identity.frame_size)
    return torch.from_numpy(scaled.round().clip(1, side).astype(np.int64))


def _resize(images: Tensor, side: int) -> Tensor:
    """(n, F, F, 3) uint8 -> (n, 3, side, side) uint8."""
    resized: Tensor = share_resize(images.shape[1], side)(images.permute(0, 3, 1, 2))
    return resized
