"""The arrays of a store: paths, shapes, chunks and shards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import zarr
from zarr.buffer import cpu
from zarr.codecs import Crc32cCodec
from zarr.core.metadata import ArrayV3Metadata  # zarr exports no public name for it
from zarr.storage import MemoryStore

from samcache.cache.errors import StoreError
from samcache.cache.files.typed_json import parse_json
from samcache.cache.format.identity import Identity
from samcache.cache.format.views import VIEW_SETS

IMAGES = "images"
EXTENTS = "extents"
STATISTICS = "statistics"

# bytes of one row of one array; ViT-H's unpooled maps in float32 have 2 % of it
_LARGEST_ROW = 1 << 30
_MOST_ROWS = 1 << 40
_MOST_ROWS_PER_SHARD = 1 << 16


@dataclass(frozen=True)
class ArraySpec:
    """One array: its rows' shape and type; a shard of it is one object of R rows."""

    path: str
    row: tuple[int, ...]  # shape of one row, the inner chunk
    dtype: str
    dimensions: tuple[str, ...]  # names of the row's axes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.row) * {"uint8": 1, "uint16": 2, "float16": 2, "float32": 4}[self.dtype]

    def make_key(self, shard: int) -> str:
        """The object that holds one shard of this array."""
        return "/".join([self.path, "c", str(shard), *("0" for _ in self.row)])


@dataclass(frozen=True)
class Layout:
    """The extents that fix every array of a store."""

    rows: int
    rows_per_shard: int
    level_shapes: dict[str, tuple[int, int, int]]  # level -> (C, h, w) as cached

    @property
    def shards(self) -> int:
        """How many shards hold all rows."""
        return -(-self.rows // self.rows_per_shard)

    def find_rows(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and one past its last."""
        start = shard * self.rows_per_shard
        return start, min(start + self.rows_per_shard, self.rows)

    @property
    def channels(self) -> dict[str, slice]:
        """Each level's place on the channel axis of the statistics array."""
        places, start = {}, 0
        for level, (count, _, _) in self.level_shapes.items():
            places[level] = slice(start, start + count)
            start += count
        return places

    def list_arrays(self, identity: Identity) -> dict[str, ArraySpec]:
        """Every array with one row an image, by path.

        features/<level>  (N, V, C, h, w) identity.dtype
        images            (N, F, F, 3) uint8 RGB, where identity.frame_size F is not 0
        extents           (N, 2) uint16, height and width in it, where there are views besides
        statistics        (N, 2, sum of C) float32: mean and variance of each unpooled map
        """
        views, frame = len(identity.views), identity.frame_size
        specs = [
            ArraySpec(
                make_feature_path(level),
                (views, *shape),
                identity.dtype,
                ("view", "channel", "y", "x"),
            )
            for level, shape in self.level_shapes.items()
        ]
        if frame:
            specs.append(ArraySpec(IMAGES, (frame, frame, 3), "uint8", ("y", "x", "rgb")))
        if frame and views > 1:
            specs.append(ArraySpec(EXTENTS, (2,), "uint16", ("side",)))
        channels = sum(shape[0] for shape in self.level_shapes.values())
        specs.append(ArraySpec(STATISTICS, (2, channels), "float32", ("moment", "channel")))
        return {spec.path: spec for spec in specs}


def make_feature_path(level: str) -> str:
    """The array that holds one level's maps."""
    return f"features/{level}"


def check_extents(layout: Layout, identity: Identity) -> None:
    """Raise StoreError for extents that no sound store has, before anything is allocated."""
    if tuple(layout.level_shapes) != identity.levels:
        raise StoreError("the store's levels and their shapes disagree: it is damaged")
    if any("/" in level or level in ("", ".", "..") for level in identity.levels):
        raise StoreError(f"the store's levels {identity.levels} are not names: it is damaged")
    if identity.dtype not in ("float16", "float32"):
        raise StoreError(f"the store's dtype {identity.dtype!r} is unknown: it is damaged")
    if identity.views not in VIEW_SETS.values():
        raise StoreError(f"the store's views {identity.views} are unknown: it is damaged")
    rows_fit = 0 <= layout.rows <= _MOST_ROWS
    if not rows_fit or not 0 < layout.rows_per_shard <= _MOST_ROWS_PER_SHARD:
        raise StoreError(
            f"the store claims {layout.rows} rows in shards of {layout.rows_per_shard}: damaged"
        )
    for spec in layout.list_arrays(identity).values():
        if min(spec.row) < 1 or spec.row_bytes > _LARGEST_ROW:
            raise StoreError(f"{spec.path} claims rows of shape {spec.row}: the store is damaged")


def make_array_metadata(layout: Layout, identity: Identity) -> dict[str, bytes]:
    """The metadata of all arrays with one row an image: key -> JSON.

    One shard is one object; its inner chunks are single rows, each with a CRC32C of its own.
    """
    specs = tuple(layout.list_arrays(identity).values())
    return dict(_make_metadata(layout.rows, layout.rows_per_shard, specs))


@lru_cache(maxsize=8)
def _make_metadata(
    rows: int, rows_per_shard: int, specs: tuple[ArraySpec, ...]
) -> Mapping[str, bytes]:
    """Metadata as Zarr writes it, which takes milliseconds an array."""
    memory: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(memory))
    for spec in specs:
        root.create_array(
            spec.path,
            shape=(rows, *spec.row),
            chunks=(1, *spec.row),
            shards=(rows_per_shard, *spec.row),
            dtype=spec.dtype,
            compressors=[Crc32cCodec()],
            dimension_names=("sample", *spec.dimensions),
        )
    return {key: value.to_bytes() for key, value in memory.items() if key != "zarr.json"}


def is_same_metadata(found: bytes, expected: bytes) -> bool:
    """Whether two ``zarr.json`` mean the same, even from different versions of zarr-python.

    A missing key has the default of Zarr. A key that Zarr ignores is a misspelt key, and so a
    difference.
    """
    if found == expected:
        return True
    try:
        value, meant = parse_json(found), _normalise(parse_json(expected))
        return bool(_normalise(value) == meant) and _holds_nothing_else(value, meant)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, ArithmeticError):
        return False


def _normalise(value: Any) -> Any:
    if value["node_type"] == "group":
        return value
    metadata = ArrayV3Metadata.from_dict(value).to_buffer_dict(cpu.buffer_prototype)
    return json.loads(metadata["zarr.json"].to_bytes())


def _holds_nothing_else(value: Any, whole: Any) -> bool:
    """Whether every key and value of some JSON occurs in the whole as well."""
    if isinstance(value, dict) and isinstance(whole, dict):
        return all(key in whole and _holds_nothing_else(value[key], whole[key]) for key in value)
    if isinstance(value, list) and isinstance(whole, list):
        return len(value) == len(whole) and all(map(_holds_nothing_else, value, whole))
    return bool(value == whole)
