"""Encode images on the spot, exactly as the images of a store whose identity is known."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from samcache.cache.commit import Writer
from samcache.cache.format.description import Description
from samcache.cache.format.identity import Identity
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import Store
from samcache.extract.encoders.load import Encoder, pool_shapes
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.images.oddities import Oddities
from samcache.extract.pipeline.fill import fill
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.ranks import Division
from samcache.extract.pipeline.read.read_ahead import Work
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.shard_encoder import ShardEncoder, open_shard_encoder
from samcache.extract.sources.base import Source
from samcache.extract.sources.inputs import Inputs

_PART = 128  # images whose features are on disk at the same time; with ViT-H 0.3 GB of them
_SHARD = 64
_MANY = 1000  # images from which compiling for a GPU, which takes up to a minute, pays off


@dataclass(frozen=True)
class LiveEncoder:
    """The encoder of an identity on its device, which fills temporary stores."""

    encoder: Encoder
    shard_encoder: ShardEncoder

    def fill_stores(
        self,
        inputs: list[Inputs],
        on_progress: OnProgress = ignore_progress,
        on_oddities: Callable[[Oddities], None] = lambda _: None,
    ) -> Iterator[Store]:
        """Encode the inputs part by part, each into a temporary store that is gone after its turn.

        on_oddities: called with what is odd about the images of each part. An image that cannot be
        read is recorded in its store with the reason, as ``extract`` records it.
        """
        total = sum(len(each.samples) for each in inputs)
        self.encoder.model.compiled = total >= _MANY
        done = 0

        def count_images(_shard: int, images: int) -> None:
            nonlocal done
            done += images
            on_progress("encoding", done, total)

        shard_encoder = replace(self.shard_encoder, on_images=count_images)
        for each in inputs:
            for start in range(0, len(each.samples), _PART):
                rows = list(range(start, min(start + _PART, len(each.samples))))
                part = each.source.take(rows)
                table = each.samples.iloc[rows].reset_index(drop=True)
                with tempfile.TemporaryDirectory(prefix="samcache-") as folder:
                    place = Path(folder) / "live.zarr"
                    store, filled = self._fill_store(place, part, table, shard_encoder)
                    on_oddities(filled.oddities.with_ids(table["id"]))
                    yield store

    def _fill_store(
        self, folder: Path, source: Source, samples: pd.DataFrame, shard_encoder: ShardEncoder
    ) -> tuple[Store, Filled]:
        identity = shard_encoder.encoder.identity
        shapes = pool_shapes(self.encoder.shapes, identity.pool)
        made = Description(identity, source.dataset, _SHARD, shapes)
        with Writer(folder) as writer:
            writer.create(lambda: (made, samples))
            places = np.arange(len(samples))
            work = Work(writer.open(), source, places, KnownRows(), Division())
            # nobody else writes here
            filled = fill(work, shard_encoder, writer, on_wait=lambda _: None)
        return writer.open(), filled


def open_live_encoder(
    identity: Identity, given: GivenEncoder, device: str, batch_size: int | None
) -> LiveEncoder:
    """Open the encoder of an identity for images in one view, without flips and rotations.

    batch_size: None is what fits. Raises CheckpointError where code or weights are not those that
    the identity records.
    """
    encoder = load_encoder_of(identity, given)
    one_view = replace(identity, views=("identity",))
    return LiveEncoder(encoder, open_shard_encoder(encoder, one_view, device, batch_size, _SHARD))
