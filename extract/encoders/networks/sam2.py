"""SAM 2's and SAM 2.1's image encoders: timm's Hiera with SAM 2's neck, all levels in one pass.

Images keep their aspect ratio and are padded, as for SAM; SAM 2's own predictor stretches them to a
square. For square images the two are the same.
"""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models.hieradet_sam2 import HieraDet
from torch import Tensor, nn
from torch.nn import functional as F

from samcache.extract.encoders.base import (
    Architecture,
    LevelEncoder,
    Levels,
    OfficialFile,
    take_levels,
)
from samcache.extract.encoders.networks.attention import RunBlock, compile_block
from samcache.extract.encoders.networks.hiera import run_hiera_block, run_hiera_block_in_parts
from samcache.extract.encoders.networks.hugging_face import rename_sam2
from samcache.extract.encoders.weights import take_part


class Sam2Levels(LevelEncoder):
    """Hiera that hands out the maps at the ends of its stages, and SAM 2's image embedding.

    settings: those of timm's ``HieraDet``.
    """

    positions: Tensor | None

    def __init__(self, levels: Levels, image_size: int, settings: dict[str, Any]) -> None:
        super().__init__(levels)
        self.trunk = HieraDet(num_classes=0, weight_init="skip", fix_init=False, **settings)
        self.trunk.head = nn.Identity()  # SAM 2's neck takes its place
        third, fourth = (stage["num_chs"] for stage in self.trunk.feature_info[2:])
        self.neck = nn.ModuleList([nn.Conv2d(fourth, 256, 1), nn.Conv2d(third, 256, 1)])
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, 256))
        self._cells = image_size // 4  # patches along a side
        self.register_buffer("positions", None, persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode (B, 3, S, S); level -> (B, C, h, w). Deeper blocks than asked do not run."""
        return take_levels(self.levels, self._compute_maps(x))

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """SAM 2's weights under timm's names, without the neck's finer maps, which no level is.

        weights: under the names of SAM 2's own code, or of Hugging Face's transformers.
        """
        weights = rename_sam2(weights)
        kept = take_part(weights, "image_encoder.")
        if "no_mem_embed" in weights:
            kept["no_mem_embed"] = weights["no_mem_embed"].reshape(1, 1, -1)  # exports drop an axis
        return {
            _name_timm_model(name): weight
            for name, weight in kept.items()
            if not name.startswith(("neck.convs.2.", "neck.convs.3."))
        }

    def prepare(self, dtype: torch.dtype) -> None:
        """Cast the blocks' linear layers; embedding, norms, residuals and neck stay float32."""
        self.positions = self._embed_positions()
        for block in self.trunk.blocks:
            for part in (block.proj, block.attn, block.mlp):
                part.to(dtype)

    def _embed_positions(self) -> Tensor:
        """SAM 2's rule for every input size, (1, S/4, S/4, D).

        Background positions are resampled bicubically, those within a window repeated.
        """
        background, window = self.trunk.pos_embed, self.trunk.pos_embed_window
        resampled = F.interpolate(background, (self._cells, self._cells), mode="bicubic")
        repeats = self._cells // window.shape[-1]
        positions: Tensor = resampled + window.tile(repeats, repeats)
        return positions.permute(0, 2, 3, 1).contiguous()

    def _compute_maps(self, x: Tensor) -> Iterator[tuple[str | int, Tensor]]:
        x = self.trunk.patch_embed(x).contiguous()  # residuals keep the strides they have
        x = x + (self._embed_positions() if self.positions is None else self.positions)
        yield "patch", x.permute(0, 3, 1, 2)
        step = self._choose_step(x.device.type)
        stages = []
        for number, blocks in enumerate(self._split_stages()):
            for block in blocks:
                x = step(block, x)
            stages.append(x.permute(0, 3, 1, 2))
            yield number, stages[-1]
        yield "neck", self._embed_image(*stages[2:])

    def _choose_step(self, device: str) -> RunBlock:
        if device == "cpu" and not torch.compiler.is_exporting():
            return run_hiera_block_in_parts
        compiled = device == "cuda" and self.compiled
        return compile_block(run_hiera_block) if compiled else run_hiera_block

    def _split_stages(self) -> Iterator[nn.Sequential]:
        first = 0
        for last in self.trunk.stage_ends:
            yield self.trunk.blocks[first : last + 1]
            first = last + 1

    def _embed_image(self, third: Tensor, fourth: Tensor) -> Tensor:
        """SAM 2's image embedding as its predictor uses it, (B, 256, S/16, S/16)."""
        coarse, fine = self.neck[0](fourth), self.neck[1](third)
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        embedded: Tensor = fine + coarse + self.no_mem_embed.view(1, -1, 1, 1)
        return embedded


def _name_timm_model(name: str) -> str:
    name = name.replace(".mlp.layers.0.", ".mlp.fc1.").replace(".mlp.layers.1.", ".mlp.fc2.")
    return name.replace("neck.convs.0.conv.", "neck.0.").replace("neck.convs.1.conv.", "neck.1.")


def _make_architecture(size: str, hashes: tuple[str, str], **settings: Any) -> Architecture:
    """hashes: of SAM 2.1's file, which is downloaded, and of SAM 2's, which loads as well."""

    def build(image_size: int, levels: Levels) -> LevelEncoder:
        return Sam2Levels(levels, image_size, settings)

    newer, older = f"sam2.1_hiera_{size}.pt", f"sam2_hiera_{size}.pt"
    return Architecture(
        image_size=1024,
        granularity=32,
        depth=4,
        named={"early": 1, "middle": 2, "late": 3},
        preprocessing="sam",
        build=build,
        official=OfficialFile(newer, hashes[0], f"{_META}/092824/{newer}"),
        others=(OfficialFile(older, hashes[1], f"{_META}/072824/{older}"),),
    )


_META = "https://dl.fbaipublicfiles.com/segment_anything_2"

# The settings are those of sam2/configs in https://github.com/facebookresearch/sam2.
ARCHITECTURES = {
    "sam2_t": _make_architecture(
        "tiny",
        (
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
        stages=(1, 2, 7, 2),
        global_att_blocks=(5, 7, 9),
    ),
    "sam2_s": _make_architecture(
        "small",
        (
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        ),
        stages=(1, 2, 11, 2),
        global_att_blocks=(7, 10, 13),
    ),
    "sam2_b+": _make_architecture(
        "base_plus",
        (
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        ),
        embed_dim=112,
        num_heads=2,
        stages=(2, 3, 16, 3),
        global_att_blocks=(12, 16, 20),
        global_pos_size=(14, 14),
    ),
    "sam2_l": _make_architecture(
        "large",
        (
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        ),
        embed_dim=144,
        num_heads=2,
        stages=(2, 6, 36, 4),
        global_att_blocks=(23, 33, 43),
        window_spec=(8, 4, 16, 8),
    ),
}
