"""SAM's ViT-B, ViT-L and ViT-H: segment_anything's modules, all levels in one pass."""

from functools import partial

import torch
from segment_anything.modeling.image_encoder import ImageEncoderViT
from torch import Tensor, nn
from torch.nn import functional as F

from samcache.extract.encoders.base import Architecture, LevelEncoder, Levels, OfficialFile
from samcache.extract.encoders.networks.attention import compile_block, run_block
from samcache.extract.encoders.networks.hugging_face import rename_sam
from samcache.extract.encoders.weights import take_part

_ATTENTION = ("attn.rel_pos_h", "attn.rel_pos_w")


def build_vit(
    image_size: int, embed_dim: int, depth: int, heads: int, global_blocks: tuple[int, ...]
) -> ImageEncoderViT:
    """An encoder with the settings of segment_anything/build_sam.py for an S x S input."""
    return ImageEncoderViT(
        img_size=image_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=global_blocks,
    )


def fit_vit_weights(weights: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Resample position embeddings to the encoder's input size; weights of equal size pass as is.

    The absolute embedding (1, s, s, D) is resampled bicubically, the relative ones of global
    blocks (2 s - 1, d) linearly, as segment_anything's get_rel_pos does. Sizes come from the
    encoder's own parameters.
    """
    wanted = encoder.state_dict()
    fitted = dict(weights)
    for name, weight in weights.items():
        if name not in wanted or weight.shape == wanted[name].shape:
            continue
        target = wanted[name].shape
        if name == "pos_embed" and weight.ndim == 4 and weight.shape[-1] == target[-1]:
            grid = weight.permute(0, 3, 1, 2).float()
            grid = F.interpolate(grid, target[1:3], mode="bicubic", align_corners=False)
            fitted[name] = grid.permute(0, 2, 3, 1)
        elif name.endswith(_ATTENTION) and weight.ndim == 2 and weight.shape[1] == target[1]:
            line = weight.T[None].float()
            fitted[name] = F.interpolate(line, target[0], mode="linear")[0].T
    return fitted


class ViTLevels(LevelEncoder):
    """An ImageEncoderViT that hands out its intermediate maps."""

    def __init__(self, encoder: ImageEncoderViT, levels: Levels) -> None:
        super().__init__(levels)
        self.encoder = encoder

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode (B, 3, S, S); level -> (B, C, S/16, S/16). Deeper blocks than asked do not run."""
        encoder = self.encoder
        names = {place: name for name, place in self.levels.items()}
        maps = {}
        x = encoder.patch_embed(x).contiguous()  # B, h, w, D; residuals keep the strides they have
        if encoder.pos_embed is not None:
            x = x + encoder.pos_embed
        if "patch" in names:
            maps[names["patch"]] = x.permute(0, 3, 1, 2)
        step = compile_block() if x.is_cuda and self.compiled else run_block
        for number, block in enumerate(encoder.blocks):
            if len(maps) == len(names):
                break
            x = step(block, x)
            if number in names:
                maps[names[number]] = x.permute(0, 3, 1, 2)
        if "neck" in names:
            planes = x.permute(0, 3, 1, 2).contiguous()  # channels last double the neck's error
            maps[names["neck"]] = encoder.neck(planes)
        return maps

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """segment_anything's weights, position embeddings fitted to the input size.

        weights: under segment_anything's names, or those of Hugging Face's transformers.
        """
        kept = take_part(rename_sam(weights), "image_encoder.")
        fitted = fit_vit_weights(kept, self.encoder)
        return {f"encoder.{name}": weight for name, weight in fitted.items()}

    def prepare(self, dtype: torch.dtype) -> None:
        """Cast the blocks' linear layers; embedding, norms, residuals and neck stay float32."""
        for block in self.encoder.blocks:
            block.attn.to(dtype)
            block.mlp.to(dtype)


def _make_architecture(
    embed_dim: int,
    depth: int,
    heads: int,
    global_blocks: tuple[int, int, int, int],
    official: OfficialFile,
) -> Architecture:
    def build(image_size: int, levels: Levels) -> LevelEncoder:
        encoder = build_vit(image_size, embed_dim, depth, heads, global_blocks)
        return ViTLevels(encoder, levels)

    first, second, _, last = global_blocks
    named = {"early": first, "middle": second, "late": last}
    return Architecture(1024, 16, depth, named, "sam", build, official)


_META = "https://dl.fbaipublicfiles.com/segment_anything"

ARCHITECTURES = {
    "vit_b": _make_architecture(
        768, 12, 12, (2, 5, 8, 11),
        OfficialFile(
            "sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            f"{_META}/sam_vit_b_01ec64.pth",
        ),
    ),
    "vit_l": _make_architecture(
        1024, 24, 16, (5, 11, 17, 23),
        OfficialFile(
            "sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            f"{_META}/sam_vit_l_0b3195.pth",
        ),
    ),
    "vit_h": _make_architecture(
        1280, 32, 16, (7, 15, 23, 31),
        OfficialFile(
            "sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            f"{_META}/sam_vit_h_4b8939.pth",
        ),
    ),
}  # fmt: skip
