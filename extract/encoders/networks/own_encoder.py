"""Encoders that users write: the base class, and how a name becomes an architecture."""

import inspect
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from samcache.cache.errors import ConfigError
from samcache.cache.files.digest import hash_file
from samcache.extract.encoders.base import Architecture, AutocastEncoder, Levels
from samcache.extract.encoders.registry import list_registered

_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
_DIGITS = 16  # of the source file's SHA-256 that an identity records


class OwnEncoder(AutocastEncoder):
    """The base class of an encoder of your own; docs/other-encoders.md has an example.

    version: change it whenever the numbers change for a reason outside the encoder's source file;
    image_size: side of the input in pixels where the user gives none; granularity: sides must be
    multiples of it; depth: how many maps are numbered, from 0; named: which of them are early,
    middle and late; preprocessing: "sam", "medsam" or "bicubic mean=0.5,0.5,0.5 std=0.5,0.5,0.5".
    """

    version: ClassVar[str]
    image_size: ClassVar[int]
    granularity: ClassVar[int]
    depth: ClassVar[int]
    named: ClassVar[Mapping[str, int]]
    preprocessing: ClassVar[str] = "sam"

    def __init__(self, image_size: int, levels: Levels) -> None:  # noqa: ARG002 - subclasses use it
        """Build the network for an input side, without weights; it must not read any file."""
        super().__init__(levels)

    @classmethod
    def find_weights(cls) -> Path | None:
        """The file of weights where the user gives none; None: the user has to give one."""
        return None


def import_encoder(name: str) -> Architecture:
    """Import an encoder that the user named, ``package.module:name`` or registered.

    The module is looked for where Python looks, and then in the current folder. Raises ConfigError
    where there is no such code, or it is not an ``OwnEncoder`` or a function that returns one.
    """
    found, made = _import_object(list_registered().get(name, name))
    if not (inspect.isclass(made) and issubclass(made, OwnEncoder)):
        raise ConfigError(
            f"encoder {name} should be a class that derives from samcache.OwnEncoder, or a "
            f"function that returns one, found {type(made).__name__}",
            hint="encoder",
        )
    _refuse_missing_facts(name, made)
    digest = hash_file(Path(inspect.getfile(found)))
    return Architecture(
        image_size=made.image_size,
        granularity=made.granularity,
        depth=made.depth,
        named=made.named,
        preprocessing=made.preprocessing,
        build=made,
        fetch=made.find_weights,
        name=f"{name}@{made.version}+{digest[:_DIGITS]}",
    )


def _import_object(place: str) -> tuple[Any, Any]:
    """What stands at ``package.module:name``, and what it returns if it is a function."""
    if not _PLACE.fullmatch(place):
        raise ConfigError(
            f"encoder {ascii(place)[:80]} should be package.module:name, such as lab.encoders:Tiny",
            hint="encoder",
        )
    module, _, name = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file there takes the place of a package
    try:
        found = getattr(import_module(module), name)
        return found, found() if inspect.isfunction(found) else found
    except Exception as error:  # the user's code may fail in any way
        raise ConfigError(
            f"encoder {place} cannot be imported ({type(error).__name__}: {error}): check the "
            "name, and that the module is installed or in the current folder",
            hint="encoder",
        ) from None


def _refuse_missing_facts(name: str, encoder: type[OwnEncoder]) -> None:
    facts = ("version", "image_size", "granularity", "depth", "named")
    missing = [fact for fact in facts if not hasattr(encoder, fact)]
    if missing:
        raise ConfigError(
            f"encoder {name} does not say its {', '.join(missing)}: add it as a class attribute"
        )
    if not _VERSION.fullmatch(str(encoder.version)):
        raise ConfigError(
            f"version {str(encoder.version)[:40]!r} of encoder {name} should be 1 to 32 letters, "
            "digits, dots, dashes and underscores"
        )
