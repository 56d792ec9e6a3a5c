"""From rows that are read to all that the store keeps of them, without making a device wait."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import ArraySpec, Layout
from samcache.cache.memory import ran_out_of_memory
from samcache.extract.encoders.load import Encoder, pool_shapes
from samcache.extract.pipeline.batch_encoder import BatchEncoder
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.devices.device import open_device
from samcache.extract.pipeline.devices.device_copies import Arrays
from samcache.extract.pipeline.devices.lanes import Lanes
from samcache.extract.pipeline.open_shard import OpenShard, ShardRows
from samcache.extract.pipeline.read.rows import Row

T = TypeVar("T")
_AHEAD = 1  # batches and ends of shards given to the device beyond those that it encodes at a time


@dataclass(frozen=True)
class _Batch:
    """Rows of a shard on the device; ``arrived`` waits for what the store keeps of them."""

    shard: OpenShard
    numbers: list[int]
    arrived: Callable[[], Arrays]


@dataclass(frozen=True)
class ShardEncoder:
    """Encodes shards in batches.

    arrays: what the store keeps of each image, by path. on_images: told a shard and how many of
    its images are through.
    """

    encoder: BatchEncoder
    arrays: dict[str, ArraySpec]
    batch: BatchSize
    on_images: Callable[[int, int], None]

    def encode(self, shards: Iterable[ShardRows]) -> Iterator[OpenShard]:
        """Encode shards one after another; yields each once it is full.

        Batches never cross shards. While the device computes one batch, or several side by side,
        the next is given to it and the one before is copied back, across the ends of shards too.
        Raises ConfigError, naming the level, where the storage dtype cannot hold a value.
        """
        flying: deque[_Batch | OpenShard] = deque()
        with Lanes(self.batch.lanes) as lanes:
            for step in self._steps(shards, lanes):
                flying.append(step)
                if len(flying) > self.batch.lanes + _AHEAD:
                    yield from self._land(flying.popleft())
            while flying:
                yield from self._land(flying.popleft())

    def _steps(self, shards: Iterable[ShardRows], lanes: Lanes) -> Iterator[_Batch | OpenShard]:
        """Yield every batch once it has begun, and every shard after its last batch."""
        for shard in shards:
            opened, waiting = OpenShard(shard, self.arrays), list[Row]()
            for row in shard.rows:
                opened.add(row)
                if row.image is None:
                    self.on_images(shard.shard, 1)
                    continue
                waiting.append(row)
                if len(waiting) >= self.batch.size:
                    yield from self._begin(opened, waiting, lanes)
                    waiting = []
            yield from self._begin(opened, waiting, lanes)
            yield opened

    def _land(self, step: _Batch | OpenShard) -> Iterator[OpenShard]:
        """Bring a batch into its shard, or hand out a shard all of whose batches have landed."""
        if isinstance(step, OpenShard):
            yield step
            return
        values = self._try(step.arrived)
        if values is None:
            raise self.batch.make_error(self.encoder.device)
        step.shard.place(step.numbers, values)
        self.on_images(step.shard.source.shard, len(step.numbers))

    def _begin(self, shard: OpenShard, rows: list[Row], lanes: Lanes) -> Iterator[_Batch]:
        """Give rows to the device, in one batch or in as many as its memory asks for."""
        while rows:
            part = rows[: self.batch.size]
            images = [row.image for row in part if row.image is not None]
            arrived = self._try(partial(lanes.begin, partial(self.encoder.begin, images)))
            if arrived is None:  # here, since an exception holds on to the tensors of its frames
                self.batch.halve(self.encoder.device)
                if self.encoder.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            yield _Batch(shard, [row.number for row in part], arrived)
            rows = rows[len(part) :]

    def _try(self, work: Callable[[], T]) -> T | None:
        """Do some of a batch's work; None where the device has no memory for it."""
        try:
            return work()
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            return None


def open_shard_encoder(
    encoder: Encoder,
    identity: Identity,
    device: str,
    batch_size: int | None,
    shard_rows: int,
    on_images: Callable[[int, int], None] = lambda *_: None,
) -> ShardEncoder:
    """Move an encoder to a device, to fill shards of so many rows with an identity's features.

    batch_size: None is the largest that fits.
    """
    place = open_device(device)
    shapes = pool_shapes(encoder.shapes, identity.pool)
    return ShardEncoder(
        encoder=BatchEncoder(encoder.model.to(place), place, identity),
        arrays=Layout(0, shard_rows, shapes).list_arrays(identity),
        batch=BatchSize.choose(batch_size, place, shard_rows),
        on_images=on_images,
    )
