"""The untrained classifier of a configuration, and its backbone ahead of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.fit import distributed
from samcache.train.model.backbones import Backbone, build_backbone
from samcache.train.model.classifier import Classifier, Design


@dataclass(frozen=True)
class DrawnBackbone:
    """An untrained backbone, and torch's random state right after its weights were drawn.

    One member trains the backbone: another member needs another one.
    """

    backbone: Backbone
    random_state: Tensor


def draw_backbone(config: TrainConfig, logits: int, image_side: int, seed: int) -> DrawnBackbone:
    """Build a configuration's backbone with a seed; the caller's random state stays as it was."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        backbone = _build_backbone(config, logits, image_side)
        return DrawnBackbone(backbone, torch.get_rng_state())


def build_classifier(
    config: TrainConfig,
    data: TrainingData,
    taps: dict[str, str],
    drawn: DrawnBackbone | None = None,
) -> Classifier:
    """The untrained classifier of a configuration, from torch's random state.

    drawn: its backbone and the random state after it, where it is built already.
    """
    channels = {level: maps.shape[1] for level, maps in data.pooled.items()}
    side = data.images.shape[-1]
    if drawn is None:
        backbone = _build_backbone(config, data.target.logits, side)
    else:
        backbone = drawn.backbone
        torch.set_rng_state(drawn.random_state)
    # before there are taps: they are hooks of modules, which are exchanged here
    backbone = replace(backbone, net=distributed.synchronise_norm(backbone.net, data.device))
    design = Design(taps, config.reduction, config.fusion, config.join)
    return Classifier(backbone, design, channels, side)


def _build_backbone(config: TrainConfig, logits: int, image_side: int) -> Backbone:
    return build_backbone(
        config.backbone, logits, image_side, pretrained=config.pretrained, stem=config.stem
    )
