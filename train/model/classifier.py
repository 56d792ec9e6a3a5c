"""A backbone whose tapped stages are gated by pooled frozen maps, and its joined head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samcache.train.model.backbones import Backbone
from samcache.train.model.joined_head import JoinedHead
from samcache.train.model.slca import SLCA
from samcache.train.model.stage_shapes import find_output_shapes


@dataclass(frozen=True)
class Design:
    """How frozen maps act on a backbone.

    taps: level -> the stage, or path of a module, that it gates. reduction, fusion: of each SLCA.
    join: whether a head of the spreads that are given joins the backbone's.
    """

    taps: Mapping[str, str]
    reduction: int
    fusion: str  # "gate" or "residual"
    join: bool = False


class _Given:
    """The frozen maps of the batch that is on its way through a classifier."""

    def __init__(self) -> None:
        self.pooled: Mapping[str, Tensor] = {}


class Classifier(nn.Module):
    """Images and pooled frozen maps in, logits out; without taps it is the plain backbone.

    A tap is a forward hook that replaces the output of a module of the backbone, so any module of
    any network can be tapped whose output is (B, C, H, W), or (B, H, W, C) in an NHWC backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        design: Design,
        channels: Mapping[str, int],
        image_size: int,
    ) -> None:
        """channels: of everything given. Raises ConfigError for stages whose output is no map."""
        super().__init__()
        self.backbone = backbone.net
        paths = {level: backbone.path(stage) for level, stage in design.taps.items()}
        shapes = find_output_shapes(backbone, set(paths.values()), image_size)
        how = design.reduction, design.fusion
        self.attention = nn.ModuleDict(
            {level: SLCA(channels[level], shapes[path][0], *how) for level, path in paths.items()}
        )
        self.joined: JoinedHead | None = None
        if design.join:
            self.joined = JoinedHead(channels, backbone.classes)
        self._nhwc = backbone.nhwc
        self._given = _Given()
        for level, path in paths.items():
            self.backbone.get_submodule(path).register_forward_hook(self._gate(level))

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Every head's logits (H, B, K) of normalised images (B, 3, H, W) and frozen features.

        pooled: level -> standardised maps (B, C_l, h, w) of each tap, name -> spreads for the head.
        H is 1 for the backbone's own head alone, 2 where another joins it: each learns by a loss of
        its own, and the mean of their logits is what they say together.
        """
        self._given.pooled = pooled
        logits: Tensor = self.backbone(images)
        self._given.pooled = {}
        heads = [logits] if self.joined is None else [logits, self.joined(pooled)]
        return torch.stack(heads)

    def compute_gates(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every tapped level's attention (B, C_s, h, w), before it is resized to its stage."""
        found = {}
        for level, module in self.attention.items():
            assert isinstance(module, SLCA)
            found[level] = module.compute_attention(pooled[level])
        return found

    def _gate(self, level: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        """The hook of one tap; hooks of one module run in the order of the taps.

        It holds no classifier: a ring would keep a finished one's memory until Python finds it.
        """
        attention, given, nhwc = self.attention[level], self._given, self._nhwc

        def hook(_module: nn.Module, _inputs: object, x: Tensor) -> Tensor:
            maps = x.permute(0, 3, 1, 2) if nhwc else x
            out: Tensor = attention(maps, given.pooled[level])
            return out.permute(0, 2, 3, 1) if nhwc else out

        return hook
