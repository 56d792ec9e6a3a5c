"""A shard while it is being filled: rows arrive one by one, their maps in batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samcache.cache.format.layout import EXTENTS, IMAGES, ArraySpec
from samcache.cache.store import ShardContent
from samcache.extract.images.oddities import NO_ODDITIES, Oddities
from samcache.extract.pipeline.read.rows import Row


@dataclass(frozen=True)
class ShardRows:
    """A shard's number, its first row and one past its last, and its samples' rows as they come."""

    shard: int
    span: tuple[int, int]
    rows: Iterable[Row]


@dataclass(frozen=True)
class Filled:
    """Images of shards, by how their rows came about."""

    encoded: int = 0
    copied: int = 0  # from rows that were encoded before
    unreadable: int = 0
    oddities: Oddities = NO_ODDITIES  # of the encoded

    def __add__(self, other: "Filled") -> "Filled":
        """Both together."""
        return Filled(
            self.encoded + other.encoded,
            self.copied + other.copied,
            self.unreadable + other.unreadable,
            self.oddities + other.oddities,
        )


class OpenShard:
    """What a shard will hold."""

    def __init__(self, shard: ShardRows, arrays: dict[str, ArraySpec]) -> None:
        """arrays: what the store keeps of each image, by path."""
        self.source = shard
        start, stop = shard.span
        self._start = start
        self._blocks: dict[str, npt.NDArray[Any]] = {
            path: np.zeros((stop - start, *spec.row), spec.dtype) for path, spec in arrays.items()
        }
        self._hashes: dict[int, str] = {}
        self._failures: dict[int, str] = {}
        self.filled = Filled()

    def add(self, row: Row) -> None:
        """Add all of a row but the maps of an image that is still to be encoded."""
        place = row.number - self._start
        kinds = row.image is not None, row.known is not None, bool(row.reason)
        self.filled += Filled(*kinds, row.oddities)
        self._hashes[row.number] = row.sha256
        if row.reason:
            self._failures[row.number] = row.reason
        for path, values in (row.known or {}).items():
            self._blocks[path][place] = values
        if row.image is not None and IMAGES in self._blocks:
            self._blocks[IMAGES][place] = row.image.cached
        if row.image is not None and EXTENTS in self._blocks:
            self._blocks[EXTENTS][place] = row.image.cached_extent

    def place(self, numbers: list[int], values: dict[str, npt.NDArray[Any]]) -> None:
        """Add what the encoder computed for some rows, by path, (B, …) in the rows' order."""
        places = [number - self._start for number in numbers]
        for path, part in values.items():
            self._blocks[path][places] = part

    def make_content(self) -> ShardContent:
        """Make the finished shard; rows that never came are holes."""
        rows = range(*self.source.span)
        holes = tuple(number for number in rows if number not in self._hashes)
        sources = tuple(self._hashes.get(number, "") for number in rows)
        return ShardContent(self._blocks, sources, self._failures, holes)
