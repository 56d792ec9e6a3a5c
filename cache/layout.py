"""Where a store keeps its arrays, and how they are cut into chunks and shards."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec

from samcache.cache.errors import StoreError
from samcache.cache.identity import Identity

STATISTICS = "statistics"
_CHECKS_EVERY_CHUNK = "zarr.core.codec_pipeline.BatchedCodecPipeline"
IMAGES = "images"


@dataclass(frozen=True)
class Layout:
    """The extents that fix every array of a store."""

    rows: int
    rows_per_shard: int
    level_shapes: dict[str, tuple[int, int, int]]  # level -> (C, h, w) as cached

    @property
    def shards(self) -> int:
        """How many shards, and so how many commits, make the store complete."""
        return -(-self.rows // self.rows_per_shard)

    def rows_of(self, shard: int) -> tuple[int, int]:
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


def feature_path(level: str) -> str:
    """The array that holds one level's maps."""
    return f"features/{level}"


def create_arrays(root: zarr.Group, layout: Layout, identity: Identity) -> None:
    """Create the empty feature, image and statistics arrays.

    features/<level>  (N, V, C, h, w) identity.dtype, one inner chunk per view of an image
    images            (N, F, F, 3) uint8, where identity.frame_size F is not 0
    statistics        (shards, 3, sum of C) float64: count, mean, m2 of the training rows

    Every chunk carries a CRC32C of its own.
    """
    views = len(identity.views)
    for level, shape in layout.level_shapes.items():
        root.create_array(
            feature_path(level),
            shape=(layout.rows, views, *shape),
            chunks=(1, 1, *shape),
            shards=(layout.rows_per_shard, views, *shape),
            dtype=identity.dtype,
            compressors=[Crc32cCodec()],
            dimension_names=("sample", "view", "channel", "y", "x"),
        )
    if identity.frame_size:
        frame = (identity.frame_size, identity.frame_size, 3)
        root.create_array(
            IMAGES,
            shape=(layout.rows, *frame),
            chunks=(1, *frame),
            shards=(layout.rows_per_shard, *frame),
            dtype="uint8",
            compressors=[Crc32cCodec()],
            dimension_names=("sample", "y", "x", "rgb"),
        )
    channels = sum(shape[0] for shape in layout.level_shapes.values())
    root.create_array(
        STATISTICS,
        shape=(layout.shards, 3, channels),
        chunks=(1, 3, channels),
        dtype="float64",
        compressors=[Crc32cCodec()],
        dimension_names=("shard", "moment", "channel"),
    )


def read_layout(root: zarr.Group, identity: Identity) -> Layout:
    """The layout of an existing store, checked against its identity; raises StoreError."""
    shapes, extents = {}, set()
    for level in identity.levels:
        array = array_at(root, feature_path(level))
        if array.ndim != 5 or array.shards is None or str(array.dtype) != identity.dtype:
            raise StoreError(
                f"{feature_path(level)} should be a sharded five-dimensional {identity.dtype} "
                f"array, found {array.dtype} {array.shape}: the store is damaged"
            )
        shapes[level] = (array.shape[2], array.shape[3], array.shape[4])
        extents.add((array.shape[0], array.shards[0], array.shape[1]))
    if identity.frame_size:
        images = array_at(root, IMAGES)
        extents.add((images.shape[0], (images.shards or (0,))[0], len(identity.views)))
    if len(extents) != 1 or next(iter(extents))[2] != len(identity.views):
        raise StoreError("the store's arrays disagree in rows, shards or views: it is damaged")
    rows, rows_per_shard, _ = extents.pop()
    return Layout(rows, rows_per_shard, shapes)


def read_rows(root: zarr.Group, path: str, start: int, stop: int) -> npt.NDArray[Any]:
    """Part of an array along its first axis, every chunk's checksum checked; raises StoreError.

    Whole shards are read and then cut: of part of a shard zarrs 0.2.3 checks nothing.
    """
    array = array_at(root, path)
    step = (array.shards or array.chunks)[0]
    first, last = start // step * step, -(-stop // step) * step
    try:
        return np.asarray(array[first:last])[start - first : stop - first]
    except (ValueError, RuntimeError, OSError, TypeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(
            f"{path}, rows {start} to {stop}, cannot be read ({reason}): the store is damaged "
            "there; delete the commit record of that shard and run extract again"
        ) from None


def row_is_intact(root: zarr.Group, path: str, row: int) -> bool:
    """Whether one row's chunks pass their checksums, whatever else is wrong with the shard."""
    with zarr.config.set({"codec_pipeline.path": _CHECKS_EVERY_CHUNK}):
        array = array_at(root, path)
    try:
        array[row]
    except (ValueError, RuntimeError, OSError, TypeError, MemoryError):
        return False
    return True


def array_at(root: zarr.Group, path: str) -> zarr.Array[Any]:
    """The array at a path below the root; raises StoreError where there is none."""
    node = root.get(path)
    if not isinstance(node, zarr.Array):
        raise StoreError(f"the array {path} is missing: the store is damaged")
    return node
