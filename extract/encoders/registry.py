"""Every encoder by name: adding one takes a file in this folder and a line in this table.

Nothing here imports torch, so that ``samcache extract --help`` can list the encoders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from samcache.cache.errors import CheckpointError

if TYPE_CHECKING:
    from samcache.extract.encoders.base import Architecture

LEVELS = ("patch", "early", "middle", "late", "neck")


@dataclass(frozen=True)
class Entry:
    """Where an encoder is built: a module whose ARCHITECTURES has the encoder's name as a key."""

    module: str
    model: str  # the model that the encoder is a part of, as people call the model


ENCODERS = {
    "vit_b": Entry("samcache.extract.encoders.vit", "SAM"),
    "vit_l": Entry("samcache.extract.encoders.vit", "SAM"),
    "vit_h": Entry("samcache.extract.encoders.vit", "SAM"),
    "vit_t": Entry("samcache.extract.encoders.tiny_vit", "MobileSAM"),
    "vit_t_med": Entry("samcache.extract.encoders.tiny_vit", "LiteMedSAM"),
}


def find_architecture(name: str) -> Architecture:
    """The architecture of an encoder; raises CheckpointError for an unknown name."""
    if name not in ENCODERS:
        raise CheckpointError(
            f"unknown encoder {ascii(name)[:80]}: expected {', '.join(ENCODERS)}; a newer samcache "
            "may have this encoder"
        )
    architectures: dict[str, Architecture] = import_module(ENCODERS[name].module).ARCHITECTURES
    return architectures[name]


def list_architectures() -> Iterator[tuple[str, Architecture]]:
    """Every encoder's name and architecture."""
    for name in ENCODERS:
        yield name, find_architecture(name)
