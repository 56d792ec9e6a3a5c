"""Every encoder by name: adding one takes a file in this folder and a line in this table.

Nothing here imports torch, so that ``samcache extract --help`` can list the encoders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from samcache.cache.errors import CheckpointError

if TYPE_CHECKING:
    from samcache.extract.encoders.base import Architecture

LEVELS = ("patch", "early", "middle", "late", "neck")
TIMM = "timm:"
GROUP = "samcache.encoders"  # of the entry points by which packages register encoders of their own


@dataclass(frozen=True)
class Entry:
    """Where an encoder is built: a module whose ARCHITECTURES has the encoder's name as a key."""

    module: str
    model: str  # the model that the encoder is a part of, as people call the model


ENCODERS = {
    "vit_b": Entry("samcache.extract.encoders.networks.vit", "SAM"),
    "vit_l": Entry("samcache.extract.encoders.networks.vit", "SAM"),
    "vit_h": Entry("samcache.extract.encoders.networks.vit", "SAM"),
    "sam2_t": Entry("samcache.extract.encoders.networks.sam2", "SAM 2"),
    "sam2_s": Entry("samcache.extract.encoders.networks.sam2", "SAM 2"),
    "sam2_b+": Entry("samcache.extract.encoders.networks.sam2", "SAM 2"),
    "sam2_l": Entry("samcache.extract.encoders.networks.sam2", "SAM 2"),
    "vit_t": Entry("samcache.extract.encoders.networks.tiny_vit", "MobileSAM"),
    "vit_t_med": Entry("samcache.extract.encoders.networks.tiny_vit", "LiteMedSAM"),
}


def find_architecture(name: str) -> Architecture:
    """The architecture of an encoder, whose ``name`` is the one that an identity records.

    name: of the table, ``timm:MODEL``, of an entry point in GROUP, or ``package.module:name``. Code
    of the last two is imported: give only what the user named. Raises CheckpointError for an
    unknown name, ConfigError for a model or for code that gives no encoder.
    """
    if name in ENCODERS:
        architectures: dict[str, Architecture] = import_module(ENCODERS[name].module).ARCHITECTURES
        return replace(architectures[name], name=name)
    if name.startswith(TIMM):
        from samcache.extract.encoders.networks.timm_model import make_timm_architecture

        return make_timm_architecture(name.removeprefix(TIMM))
    if is_own_code(name):
        from samcache.extract.encoders.networks.own_encoder import import_encoder

        return import_encoder(name)
    raise CheckpointError(
        f"unknown encoder {ascii(name)[:80]}: {suggest_encoder(name)}", hint="encoder"
    )


def is_own_code(name: str) -> bool:
    """Whether an encoder is the code of somebody else, named by its place or registered."""
    return name in list_registered() or (":" in name and not name.startswith(TIMM))


def list_registered() -> dict[str, str]:
    """Name -> ``package.module:name`` of each encoder that an installed package registers.

    Nothing is imported. A name of samcache's own table, or with a colon, cannot be registered.
    """
    return {
        point.name: point.value
        for point in entry_points(group=GROUP)
        if point.name not in ENCODERS and ":" not in point.name
    }


def suggest_encoder(name: str) -> str:
    """What an unknown name may have meant."""
    known = [*ENCODERS, *list_registered()]
    if near := get_close_matches(name.lower(), known, n=1):
        return f"do you mean {near[0]}?"
    return (
        f"expected {', '.join(known)}, timm:MODEL or package.module:name; "
        "samcache encoders lists them"
    )


def list_architectures() -> Iterator[tuple[str, Architecture]]:
    """The name and architecture of every encoder in the table."""
    for name in ENCODERS:
        yield name, find_architecture(name)
