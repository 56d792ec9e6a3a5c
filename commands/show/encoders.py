"""What ``samcache encoders`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from samcache.cache.text import describe_bytes
from samcache.commands.show.tables import make_table
from samcache.extract.encoders.registry import ENCODERS, LEVELS

if TYPE_CHECKING:
    from samcache.commands.show.tables import Part
    from samcache.extract.encoders.facts import EncoderFacts


def describe_encoders(facts: list[EncoderFacts], registered: Mapping[str, str]) -> Iterator[Part]:
    """A table of encoders, a table of their levels, and what packages register."""
    header = ("encoder", "model", "parameters", "input", "pool", "bytes an image", "official file")
    rows = [
        (
            each.name,
            ENCODERS[each.name].model if each.name in ENCODERS else "",
            f"{each.parameters / 1e6:.1f} M",
            f"{each.image_size} px",
            each.pool,
            describe_bytes(each.image_bytes),
            each.official,
        )
        for each in facts
    ]
    yield make_table(rows, header, right=(2, 3, 5))
    yield ""
    yield "levels: channels x height x width, before pooling"
    shapes = [
        (each.name, *("x".join(map(str, each.shapes[level])) for level in LEVELS)) for each in facts
    ]
    yield make_table(shapes, ("encoder", *LEVELS), right=range(1, 1 + len(LEVELS)))
    if registered:
        yield ""
        yield "registered by installed packages"
        yield make_table(registered.items())
