"""A store's data as a training is given them."""

import torch

from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import IDENTITY, TrainingData
from samcache.train.data.load import InputPlan, Sides, choose_image_side, load_training_data
from samcache.train.data.scaling import scale_inputs
from samcache.train.fit.build import draw_backbone
from samcache.train.model.pooling import choose_sides


def load_scaled(
    store: Store, sides: Sides, image_size: int | None, views: tuple[str, ...] = IDENTITY
) -> TrainingData:
    """A store's data in units of its training split."""
    data = load_training_data(InputPlan.of(store, sides, image_size, views))
    return scale_inputs(data, store, data.find_rows("train"))


def find_sides(config: TrainConfig, store: Store) -> Sides:
    """The sides of the maps that a configuration reads."""
    with torch.random.fork_rng([]):
        side = choose_image_side(store, config.image_size)
        backbone = draw_backbone(config, len(store.dataset.classes), side, seed=0).backbone
        return choose_sides(config, store, backbone)
