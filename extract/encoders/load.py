"""Build an encoder from a checkpoint: resolve its levels, check and load its weights."""

import logging
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import torch
from torch import Tensor

from samcache.cache.errors import CheckpointError, ConfigError, SamcacheError
from samcache.cache.text import count_nouns
from samcache.extract.encoders.base import Architecture, LevelEncoder, Levels
from samcache.extract.encoders.registry import LEVELS
from samcache.extract.encoders.weights import name_official_file, read_checkpoint

_log = logging.getLogger(__name__)
_LARGEST_POOL = 4  # of those chosen where none is asked for
Shapes = dict[str, tuple[int, int, int]]  # level -> (C, h, w)


@dataclass(frozen=True)
class Encoder:
    """A built encoder: each level's (C, h, w) in ``shapes``, its file's SHA-256 in ``weights``."""

    name: str
    image_size: int
    weights: str
    levels: Levels
    shapes: Shapes
    precision: str  # of matrix products, e.g. "bfloat16"
    preprocessing: str  # the encoder's own
    model: LevelEncoder


def load_encoder(
    architecture: Architecture,
    checkpoint: Path,
    levels: tuple[str, ...],
    image_size: int | None = None,
    precision: str = "float32",
    expected: str = "",
) -> Encoder:
    """Build an encoder in evaluation mode on the CPU and load its weights.

    precision: "float32", "bfloat16" or "float16", of its matrix products. expected: the SHA-256
    (hex) that the checkpoint must have; "" accepts any.

    Raises ConfigError for an input size that the encoder cannot take, CheckpointError for weights
    that are not this encoder's or not the expected ones.
    """
    name = architecture.name
    size = image_size or architecture.image_size
    places = resolve_levels(architecture, levels)
    shapes = find_level_shapes(architecture, levels, size)
    weights, digest = read_checkpoint(checkpoint, expected)
    model = architecture.build(size, places)
    _load_weights(model, _adapt(model, weights), name, checkpoint, digest)
    model.eval().requires_grad_(False)
    model.prepare(getattr(torch, precision))
    torch.backends.cudnn.allow_tf32 = False  # layers kept in float32 are float32 on GPUs too
    _log.info("%s at %d px in %s, weights %s of %s", name, size, precision, digest[:12], checkpoint)
    own = architecture.preprocessing
    return Encoder(name, size, digest, places, shapes, precision, own, model)


def resolve_levels(architecture: Architecture, names: tuple[str, ...]) -> Levels:
    """Find level names and block numbers ("patch", "early", "7", …) in an encoder.

    A block number n becomes the level ``block<n>``. The result is in the order of depth. Raises
    ConfigError for names that the encoder does not have.
    """
    if not names:
        raise ConfigError(f"no level is given: give some of {', '.join(LEVELS)}", hint="levels")
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
                f"{architecture.name} has no level {name!r}: expected {', '.join(LEVELS)} or a "
                f"block number from 0 to {architecture.depth - 1}",
                hint="levels",
            )
    if len(set(levels.values())) < len(names):
        raise ConfigError(
            f"levels {','.join(names)} name a level twice: name each level once", hint="levels"
        )
    depth = {"patch": -1, "neck": architecture.depth}
    return dict(sorted(levels.items(), key=lambda item: depth.get(str(item[1]), item[1])))


def find_level_shapes(
    architecture: Architecture, levels: tuple[str, ...], image_size: int
) -> Shapes:
    """Each level's unpooled (C, h, w) in a known encoder; raises as ``build_without_weights``."""
    return build_without_weights(architecture, levels, image_size)[1]


def build_without_weights(
    architecture: Architecture, levels: tuple[str, ...], image_size: int
) -> tuple[LevelEncoder, Shapes]:
    """An encoder on torch's meta device, and each level's unpooled (C, h, w).

    Raises ConfigError where the encoder cannot take this input size or has no such map.
    """
    places = resolve_levels(architecture, levels)
    if image_size % architecture.granularity or image_size <= 0:
        raise ConfigError(
            f"image size {image_size} does not fit {architecture.name}: expected a multiple of "
            f"{architecture.granularity}, such as {architecture.image_size}",
            hint="image_size",
        )
    try:
        with torch.device("meta"), torch.no_grad():
            model = architecture.build(image_size, places)
            maps = model.eval()(torch.zeros(1, 3, image_size, image_size))
    except SamcacheError:
        raise
    except Exception as error:  # timm and users' own encoders raise errors of their own
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise ConfigError(
            f"{architecture.name} cannot encode an image of {image_size} px "
            f"({type(error).__name__}: {reason}): choose another image size, such as "
            f"{architecture.image_size}",
            hint="image_size",
        ) from None
    if missing := [level for level in places if level not in maps]:
        raise ConfigError(
            f"{architecture.name} gives no map for level {missing[0]}: choose other levels",
            hint="levels",
        )
    return model, {level: tuple(maps[level].shape[1:]) for level in places}


def choose_pool(shapes: Shapes, image_size: int, asked: int | None) -> int:
    """The pool that is asked for; None: the largest up to 4 that divides every level's sides.

    Raises ConfigError where it does not divide a level.
    """
    sides = gcd(*(side for _, *both in shapes.values() for side in both))
    if asked is None:
        return max(pool for pool in range(1, _LARGEST_POOL + 1) if sides % pool == 0)
    for level, (_, height, width) in shapes.items():
        if height % asked or width % asked:
            raise ConfigError(
                f"pool {asked} does not divide level {level}, which is {height} x {width} at image "
                f"size {image_size}: choose a pool that divides {sides}",
                hint="pool",
            )
    return asked


def pool_shapes(shapes: Shapes, pool: int) -> Shapes:
    """Each level's (C, h, w) after averaging over pool x pool cells."""
    return {
        level: (channels, height // pool, width // pool)
        for level, (channels, height, width) in shapes.items()
    }


def _adapt(model: LevelEncoder, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the encoder adapts them, or as they are: then their names do not fit."""
    try:
        return model.adapt(weights)
    except SamcacheError:
        raise
    except Exception:  # an encoder meets names and shapes that it does not know
        _log.debug("weights could not be adapted", exc_info=True)
        return weights


def _load_weights(
    model: LevelEncoder, weights: dict[str, Tensor], name: str, checkpoint: Path, digest: str
) -> None:
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in weights.items()}
    if wanted == found:
        damaged = [key for key, value in weights.items() if not value.isfinite().all()]
        if damaged:
            raise CheckpointError(
                f"{checkpoint} is damaged: {count_nouns(len(damaged), 'weight')} (first: "
                f"{damaged[0]}) {'holds' if len(damaged) == 1 else 'hold'} NaN or infinity; "
                "download the file again"
            )
        model.load_state_dict(weights)
        return
    missing = sorted(wanted.keys() - found.keys())
    shaped = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
    extra = sorted(found.keys() - wanted.keys())
    known = name_official_file(digest)
    advice = f"the file is {known}" if known else "give the checkpoint of this encoder"
    if shaped and not missing and not extra:
        advice += ", or its own image size"
    raise CheckpointError(
        f"{checkpoint} does not fit encoder {name}: {count_nouns(len(missing), 'weight')} "
        f"missing, {len(shaped)} of another shape, {len(extra)} unknown "
        f"(first: {[*missing, *shaped, *extra][0]}): {advice}",
        hint="encoder" if known else "checkpoint",
    )
