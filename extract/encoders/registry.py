"""The encoders by name, their levels, and how one is built from a checkpoint."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from samcache.cache.errors import CheckpointError, ConfigError
from samcache.cache.text import count_nouns
from samcache.extract.encoders.base import LevelEncoder, Levels
from samcache.extract.encoders.tiny_vit import TinyViTLevels
from samcache.extract.encoders.vit import ViTLevels, build_vit
from samcache.extract.encoders.weights import load_image_encoder, name_by_hash

_log = logging.getLogger(__name__)
Shapes = dict[str, tuple[int, int, int]]  # level -> (C, h, w)
LEVELS = ("patch", "early", "middle", "late", "neck")


@dataclass(frozen=True)
class Architecture:
    """What must be known of an encoder before its weights are read."""

    image_size: int  # side of the input it was trained on, pixels
    granularity: int  # input sides must be multiples of this
    depth: int  # blocks (ViT) or layers (TinyViT)
    named: Mapping[str, int]  # block or layer number of early, middle and late
    preprocessing: str
    build: Callable[[int, Levels], LevelEncoder]  # from input side and levels


def _vit(embed_dim: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> Architecture:
    def build(image_size: int, levels: Levels) -> LevelEncoder:
        encoder = build_vit(image_size, embed_dim, depth, heads, global_blocks)
        return ViTLevels(encoder, levels)

    first, second, _, last = global_blocks
    named = {"early": first, "middle": second, "late": last}
    return Architecture(1024, 16, depth, named, "sam", build)


def _tiny(image_size: int, patch_stride: int, preprocessing: str) -> Architecture:
    return Architecture(
        image_size=image_size,
        granularity=4 * patch_stride,
        depth=4,
        named={"early": 0, "middle": 1, "late": 3},
        preprocessing=preprocessing,
        build=lambda _, levels: TinyViTLevels(levels, patch_stride),
    )


ARCHITECTURES: dict[str, Architecture] = {
    "vit_b": _vit(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _vit(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _vit(1280, 32, 16, (7, 15, 23, 31)),
    "vit_t": _tiny(1024, patch_stride=4, preprocessing="sam"),
    "vit_t_med": _tiny(256, patch_stride=1, preprocessing="medsam"),
}


def resolve_levels(encoder: str, names: tuple[str, ...]) -> Levels:
    """Level names and block numbers ("patch", "early", "7", …) as places in an encoder.

    A block number n becomes the level ``block<n>``. The result is in the order of depth. Raises
    ConfigError for names the encoder does not have.
    """
    architecture = ARCHITECTURES[encoder]
    if not names:
        raise ConfigError(f"--levels names none: give some of {', '.join(LEVELS)}")
    levels: Levels = {}
    for name in names:
        number = name.removeprefix("block")
        if name in ("patch", "neck"):
            levels[name] = name
        elif name in architecture.named:
            levels[name] = architecture.named[name]
        elif number.isdecimal() and int(number) < architecture.depth:
            levels[f"block{int(number)}"] = int(number)
        else:
            raise ConfigError(
                f"{encoder} has no level {name!r}: expected {', '.join(LEVELS)} or a block "
                f"number from 0 to {architecture.depth - 1}"
            )
    if len(set(levels.values())) < len(names):
        raise ConfigError(f"--levels {','.join(names)} names a level twice: name each once")
    depth = {"patch": -1, "neck": architecture.depth}
    return dict(sorted(levels.items(), key=lambda item: depth.get(str(item[1]), item[1])))


@dataclass(frozen=True)
class Encoder:
    """A built encoder. ``shapes`` gives each level's (C, h, w), ``weights`` the file's SHA-256."""

    name: str
    image_size: int
    weights: str
    levels: Levels
    shapes: dict[str, tuple[int, int, int]]
    precision: str  # of matrix products, e.g. "bfloat16"
    model: LevelEncoder


def load_encoder(
    name: str,
    checkpoint: Path,
    levels: tuple[str, ...],
    image_size: int | None = None,
    precision: str = "float32",
) -> Encoder:
    """Build an encoder in evaluation mode on the CPU and load its weights.

    precision: "float32", "bfloat16" or "float16", of its matrix products.

    Raises ConfigError for an input size it cannot take, CheckpointError for weights that are not
    this encoder's.
    """
    architecture = ARCHITECTURES[name]
    size = image_size or architecture.image_size
    if size % architecture.granularity or size <= 0:
        raise ConfigError(
            f"--image-size {size} does not fit {name}: expected a multiple of "
            f"{architecture.granularity}, such as {architecture.image_size}"
        )
    places = resolve_levels(name, levels)
    weights, digest = load_image_encoder(checkpoint)
    shapes = level_shapes(name, levels, size)
    model = architecture.build(size, places)
    _load(model, model.adapt(weights), name, checkpoint, digest)
    model.eval().requires_grad_(False)
    model.prepare(getattr(torch, precision))
    torch.backends.cudnn.allow_tf32 = False  # layers kept in float32 are float32 on GPUs too
    _log.info("%s at %d px in %s, weights %s of %s", name, size, precision, digest[:12], checkpoint)
    return Encoder(name, size, digest, places, shapes, precision, model)


def level_shapes(name: str, levels: tuple[str, ...], image_size: int) -> Shapes:
    """Each level's unpooled (C, h, w) in a known encoder, without its weights."""
    with torch.device("meta"):
        model = ARCHITECTURES[name].build(image_size, resolve_levels(name, levels))
        return _level_shapes(model, image_size)


def _level_shapes(model: LevelEncoder, size: int) -> dict[str, tuple[int, int, int]]:
    """Each level's (C, h, w), from a pass without data."""
    with torch.no_grad():
        maps = model.eval()(torch.zeros(1, 3, size, size))
    return {level: tuple(value.shape[1:]) for level, value in maps.items()}


def _load(
    model: LevelEncoder, weights: dict[str, Tensor], name: str, checkpoint: Path, digest: str
) -> None:
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in weights.items()}
    if wanted == found:
        lost = [key for key, value in weights.items() if not value.isfinite().all()]
        if lost:
            raise CheckpointError(
                f"{checkpoint} holds values that are no numbers, in "
                f"{count_nouns(len(lost), 'weight')} (first: "
                f"{lost[0]}): it is damaged; get it anew"
            )
        model.load_state_dict(weights)
        return
    missing = sorted(wanted.keys() - found.keys())
    shaped = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
    extra = sorted(found.keys() - wanted.keys())
    known = name_by_hash(digest)
    advice = f"its SHA-256 is that of {known}" if known else "give the checkpoint of this encoder"
    raise CheckpointError(
        f"{checkpoint} does not fit --encoder {name}: {count_nouns(len(missing), 'weight')} "
        f"missing, {len(shaped)} of another shape, {len(extra)} unknown "
        f"(first: {[*missing, *shaped, *extra][0]}): {advice}"
    )
