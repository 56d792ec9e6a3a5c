"""What an encoder is, before anybody runs it: parameters, levels and their shapes, bytes."""

from dataclasses import dataclass
from math import prod

from samcache.extract.encoders.base import Architecture
from samcache.extract.encoders.load import (
    Shapes,
    build_without_weights,
    choose_pool,
    pool_shapes,
)
from samcache.extract.encoders.registry import LEVELS

_FLOAT16 = 2  # bytes


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder's parameters, levels and size in a store, at one size of its input.

    shapes: each level's unpooled (C, h, w); image_bytes: of one image's features in float16, after
    averaging over ``pool`` x ``pool`` cells; official: the name of the published file, or "".
    """

    name: str
    parameters: int
    image_size: int
    shapes: Shapes
    pool: int
    image_bytes: int
    official: str


def find_facts(
    architecture: Architecture, image_size: int | None, pool: int | None
) -> EncoderFacts:
    """The facts of an encoder; None means its own input size, and the pool that extract chooses.

    Raises ConfigError for a size that the encoder cannot take and a pool that does not divide it.
    """
    size = image_size or architecture.image_size
    model, shapes = build_without_weights(architecture, LEVELS, size)
    chosen = choose_pool(shapes, size, pool)
    return EncoderFacts(
        name=architecture.name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        image_size=size,
        shapes=shapes,
        pool=chosen,
        image_bytes=_FLOAT16 * sum(map(prod, pool_shapes(shapes, chosen).values())),
        official=architecture.official.file if architecture.official else "",
    )
