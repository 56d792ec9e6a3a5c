"""A torchvision backbone cut into stages, with SLCA after those that a level is tapped to."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torchvision.models as models
from torch import Tensor, nn

from samcache.cache.errors import ConfigError
from samcache.train.slca import SLCA

_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_SWINS = ("swin_v2_t", "swin_v2_s", "swin_v2_b")
BACKBONES = _RESNETS + _SWINS


@dataclass(frozen=True)
class Backbone:
    """Stages from input to logits: stem, stage1 … stage4 on (B, C, H, W), then the head."""

    stages: "OrderedDict[str, nn.Module]"
    channels: dict[str, int]
    head: nn.Module


class NHWC(nn.Module):
    """A module that works on (B, H, W, C), for (B, C, H, W) on either side."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


def build_backbone(name: str, classes: int) -> Backbone:
    """A randomly initialised backbone from torchvision; raises ConfigError for unknown names."""
    if name in _RESNETS:
        return _cut_resnet(getattr(models, name)(weights=None, num_classes=classes))
    if name in _SWINS:
        return _cut_swin(getattr(models, name)(weights=None, num_classes=classes))
    raise ConfigError(f"no backbone {name!r}: expected one of {', '.join(BACKBONES)}")


def _cut_resnet(net: models.ResNet) -> Backbone:
    stages = OrderedDict(
        stem=nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool),
        stage1=net.layer1,
        stage2=net.layer2,
        stage3=net.layer3,
        stage4=net.layer4,
    )
    stem = net.conv1.out_channels
    width = net.fc.in_features
    counts = (stem, width // 8, width // 4, width // 2, width)
    head = nn.Sequential(net.avgpool, nn.Flatten(), net.fc)
    return Backbone(stages, dict(zip(stages, counts, strict=True)), head)


def _cut_swin(net: models.SwinTransformer) -> Backbone:
    """torchvision's features: patch embedding, then stage and patch merging by turns, all NHWC."""
    parts = list(net.features)
    stages = OrderedDict(stem=nn.Sequential(parts[0], _ToNCHW()), stage1=NHWC(parts[1]))
    for number in (2, 3, 4):
        merge, blocks = parts[2 * number - 2], parts[2 * number - 1]
        stages[f"stage{number}"] = NHWC(nn.Sequential(merge, blocks))
    width = net.head.in_features
    counts = (width // 8, width // 8, width // 4, width // 2, width)
    head = nn.Sequential(NHWC(net.norm), net.avgpool, nn.Flatten(), net.head)
    return Backbone(stages, dict(zip(stages, counts, strict=True)), head)


class _ToNCHW(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class Classifier(nn.Module):
    """Images and pooled frozen maps in, logits out; without taps it is the plain backbone."""

    def __init__(
        self,
        backbone: Backbone,
        taps: Mapping[str, str],
        level_channels: Mapping[str, int],
        reduction: int,
        fusion: str,
    ) -> None:
        """``taps`` maps a level to the stage it gates; raises ConfigError for unknown stages."""
        super().__init__()
        self.stages = nn.ModuleDict(backbone.stages)
        self.head = backbone.head
        self.taps = dict(taps)
        attention = {}
        for level, stage in taps.items():
            if stage not in backbone.channels:
                raise ConfigError(
                    f"no stage {stage!r} to tap {level} to: expected one of "
                    f"{', '.join(backbone.channels)}"
                )
            channels = level_channels[level], backbone.channels[stage]
            attention[level] = SLCA(*channels, reduction, fusion)
        self.attention = nn.ModuleDict(attention)

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, classes) of normalised images (B, 3, H, W) and pooled maps (B, C_l, h, w)."""
        x = images
        for name, stage in self.stages.items():
            x = stage(x)
            for level, tapped in self.taps.items():
                if tapped == name:
                    x = self.attention[level](x, pooled[level])
        logits: Tensor = self.head(x)
        return logits
