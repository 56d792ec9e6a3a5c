"""Fill a store from a source: read ahead, encode shard by shard, write behind."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.errors import ConfigError, ImageError
from samcache.cache.statistics import Moments
from samcache.cache.store import ShardContent, Store
from samcache.extract.decode import RGB
from samcache.extract.encoders import Encoder
from samcache.extract.preprocess import normalise, stack_frames, to_frame
from samcache.extract.sources import Source, UnreadableImageError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Row:
    """One image made ready for the encoder, or the reason why it could not be."""

    number: int  # its row in the store
    frame: RGB | None  # (S, S, 3) uint8, the encoder's input frame; None where unreadable
    extent: tuple[int, int]  # height and width of the image in the frame
    thumbnail: RGB | None  # (F, F, 3) uint8, the cached image
    sha256: str
    reason: str = ""


def encode_pending(
    source: Source,
    store: Store,
    encoder: Encoder,
    device: torch.device,
    batch_size: int,
    strict: bool,
    on_progress: Callable[[int], None],
) -> None:
    """Encode and commit every shard the store lacks.

    While one shard is encoded, the next is read and the last one written; at most three shards are
    in memory. ``on_progress`` is told the images of each batch done. With ``strict`` the first
    unreadable image raises ImageError; otherwise it is recorded and the run goes on.
    """
    model = encoder.model.to(device)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        try:
            for shard, rows in _read_ahead(source, store, encoder.image_size, readers):
                failed = next((row for row in rows if row.frame is None), None)
                if strict and failed is not None:
                    name = source.samples["id"].iloc[failed.number]
                    raise ImageError(
                        f"{name}: {failed.reason}; mend or remove it, or run without --strict"
                    )
                is_train = (source.samples["split"] == "train").to_numpy()
                batches = _Batches(rows, is_train, batch_size, on_progress)
                content = _encode_shard(batches, store, model, device)
                if written is not None:
                    written.result()
                written = writer.submit(store.commit, shard, content)
            if written is not None:
                written.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Batches:
    """A shard's rows, cut into batches of those that could be read."""

    rows: list[Row]
    is_train: npt.NDArray[np.bool_]
    size: int
    on_progress: Callable[[int], None]

    def __iter__(self) -> Iterator[list[Row]]:
        readable = [row for row in self.rows if row.frame is not None]
        self.on_progress(len(self.rows) - len(readable))
        for start in range(0, len(readable), self.size):
            batch = readable[start : start + self.size]
            yield batch
            self.on_progress(len(batch))


def _read_ahead(
    source: Source, store: Store, side: int, readers: ThreadPoolExecutor
) -> Iterator[tuple[int, list[Row]]]:
    """Yield each pending shard with its rows, reading one shard ahead."""

    def submit(shard: int) -> list[Future[Row]]:
        numbers = range(*store.layout.rows_of(shard))
        frame_size = store.identity.frame_size
        return [readers.submit(_prepare, source, n, side, frame_size) for n in numbers]

    reading: deque[tuple[int, list[Future[Row]]]] = deque()
    for shard in store.pending():
        reading.append((shard, submit(shard)))
        if len(reading) == 2:
            yield _finished(reading.popleft())
    while reading:
        yield _finished(reading.popleft())


def _finished(read: tuple[int, list[Future[_T]]]) -> tuple[int, list[_T]]:
    shard, futures = read
    return shard, [future.result() for future in futures]


def _prepare(source: Source, number: int, side: int, frame_size: int) -> Row:
    try:
        image = source.load(number)
        frame, extent = to_frame(image.pixels, side)
        thumbnail = to_frame(image.pixels, frame_size)[0] if frame_size else None
        return Row(number, frame, extent, thumbnail, image.sha256)
    except UnreadableImageError as error:
        return Row(number, None, (0, 0), None, error.sha256, str(error))
    except ImageError as error:
        return Row(number, None, (0, 0), None, "", str(error))


def _encode_shard(
    batches: _Batches, store: Store, model: torch.nn.Module, device: torch.device
) -> ShardContent:
    """Encode a shard's readable rows; rows that failed stay zero."""
    identity, rows = store.identity, batches.rows
    shapes = store.layout.level_shapes
    features: dict[str, npt.NDArray[np.generic]] = {
        level: np.zeros((len(rows), 1, *shape), dtype=identity.dtype)
        for level, shape in shapes.items()
    }
    moments = {level: Moments.zero(shape[0]) for level, shape in shapes.items()}
    first = rows[0].number
    with torch.inference_mode():
        for batch in batches:
            frames = stack_frames([row.frame for row in batch if row.frame is not None])
            extents = [row.extent for row in batch]
            preprocessing = identity.preprocessing
            maps = model(normalise(frames.to(device), extents, preprocessing))
            places = [row.number - first for row in batch]
            train = [i for i, row in enumerate(batch) if batches.is_train[row.number]]
            for level, values in maps.items():
                full = values.float().contiguous()
                moments[level] = moments[level].merge(_moments(full[train]))
                features[level][places, 0] = _pooled(full, level, identity.pool, identity.dtype)
    images = _thumbnails(rows, identity.frame_size)
    failures = {row.number: row.reason for row in rows if row.frame is None}
    return ShardContent(features, images, moments, tuple(r.sha256 for r in rows), failures)


def _moments(maps: Tensor) -> Moments:
    """Moments of (B, C, h, w) maps over everything but channels."""
    if len(maps) == 0:
        return Moments.zero(maps.shape[1])
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3), correction=0)
    count = maps.numel() // maps.shape[1]
    mean64, variance64 = (v.double().cpu().numpy() for v in (mean, variance))
    return Moments(count, mean64, variance64 * count)


def _pooled(full: Tensor, level: str, pool: int, dtype: str) -> npt.NDArray[np.generic]:
    """Average (B, C, H, W) maps over pool x pool cells and cast them to the storage dtype."""
    pooled = F.avg_pool2d(full, pool) if pool > 1 else full
    stored = pooled.to(getattr(torch, dtype))
    lost = int((~torch.isfinite(stored)).sum())
    if lost:
        raise ConfigError(
            f"level {level} has {lost} values that {dtype} cannot hold (largest "
            f"{pooled.abs().max().item():.3g}): use --dtype float32"
        )
    values: npt.NDArray[np.generic] = stored.cpu().numpy()
    return values


def _thumbnails(rows: list[Row], side: int) -> npt.NDArray[np.uint8] | None:
    if not side:
        return None
    images = np.zeros((len(rows), side, side, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        if row.thumbnail is not None:
            images[place] = row.thumbnail
    return images


def check_pool(shapes: dict[str, tuple[int, int, int]], pool: int, image_size: int) -> None:
    """Raise ConfigError where a level's map cannot be cut into pool x pool cells."""
    for level, (_, height, width) in shapes.items():
        if pool < 1 or height % pool or width % pool:
            raise ConfigError(
                f"--pool {pool} does not divide level {level}, which is {height} x {width} at "
                f"--image-size {image_size}: choose a pool that divides it"
            )
