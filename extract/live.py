"""Images encoded on the spot, exactly as those of a store whose identity is known."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from samcache.cache.errors import CheckpointError
from samcache.cache.files.digest import file_sha256
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import Layout
from samcache.cache.store import Store
from samcache.cache.writer import Writer
from samcache.extract.encoders.registry import Encoder, load_encoder
from samcache.extract.encoders.weights import OFFICIAL, name_by_hash, official_checkpoint
from samcache.extract.images.remarks import Noted
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.fill import Work, fill
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.progress import encoding_progress
from samcache.extract.pipeline.ranks import Division
from samcache.extract.pipeline.reuse import KnownRows
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.run import open_device
from samcache.extract.sources.base import Source
from samcache.extract.sources.inputs import Inputs

OnImages = Callable[[int, int], None]  # a shard, and how many of its images are through

_PART = 128  # images whose features are on disk at the same time; with ViT-H 0.3 GB of them
_SHARD = 64
_MANY = 1000  # images for which making code for a GPU pays, which takes up to a minute


@dataclass(frozen=True)
class LiveEncoder:
    """An encoder on its device, and the identity of the features that it shall give."""

    encoder: Encoder
    identity: Identity
    device: torch.device
    batch: BatchSize

    def stores(
        self,
        inputs: list[Inputs],
        console: Console,
        bar: bool = True,
        on_noted: Callable[[Noted], None] = lambda _: None,
    ) -> Iterator[Store]:
        """Encode the inputs part by part, each into a temporary store that is gone after its turn.

        bar: whether progress is shown on ``console``. on_noted: told what is noted of each part.
        An image that cannot be read is recorded there with its reason, as ``extract`` does it.
        """
        total = sum(len(given.samples) for given in inputs)
        self.encoder.model.compiled = total >= _MANY
        with encoding_progress(console, bar) as progress:
            task = progress.add_task("encoding", total=total)

            def on_images(_shard: int, images: int) -> None:
                progress.advance(task, images)

            shard_encoder = self._shard_encoder(on_images)
            for given in inputs:
                for start in range(0, len(given.samples), _PART):
                    rows = range(start, min(start + _PART, len(given.samples)))
                    part = given.source.take(list(rows))
                    table = given.samples.iloc[list(rows)].reset_index(drop=True)
                    with tempfile.TemporaryDirectory(prefix="samcache-") as folder:
                        place = Path(folder) / "live.zarr"
                        store, filled = self._filled(place, part, table, shard_encoder)
                        on_noted(filled.noted.named(table["id"]))
                        yield store

    @property
    def _shapes(self) -> dict[str, tuple[int, int, int]]:
        """Level -> (C, h, w) of what is kept."""
        pool = self.identity.pool
        return {
            level: (channels, height // pool, width // pool)
            for level, (channels, height, width) in self.encoder.shapes.items()
        }

    def _shard_encoder(self, on_images: OnImages) -> ShardEncoder:
        return ShardEncoder(
            model=self.encoder.model,
            device=self.device,
            identity=self.identity,
            arrays=Layout(0, _SHARD, self._shapes).arrays(self.identity),
            batch=self.batch,
            on_images=on_images,
        )

    def _filled(
        self, folder: Path, source: Source, samples: pd.DataFrame, encoder: ShardEncoder
    ) -> tuple[Store, Filled]:
        dataset = Dataset(source.name, source.classes, source.split_origin)
        made = Description(self.identity, dataset, _SHARD, self._shapes)
        with Writer(folder) as writer:
            writer.create(lambda: (made, samples))
            places = np.arange(len(samples))
            work = Work(writer.open(), source, places, KnownRows(), Division())
            filled = fill(work, encoder, writer, on_wait=lambda _: None)  # nobody else writes here
        return writer.open(), filled


def open_live_encoder(
    identity: Identity, checkpoint: Path | None, device: str, batch_size: int | None
) -> LiveEncoder:
    """The encoder of an identity, with one view; None means the official file, and what fits.

    Raises CheckpointError where the weights are not those that the identity records.
    """
    encoder = load_identity_encoder(identity, checked_weights(identity, checkpoint))
    place = open_device(device)
    encoder.model.to(place)
    batch = BatchSize.chosen(batch_size, place, _SHARD)
    return LiveEncoder(encoder, replace(identity, views=("identity",)), place, batch)


def load_identity_encoder(identity: Identity, weights: Path) -> Encoder:
    """The encoder of an identity, with its levels and in its precision, on the CPU."""
    return load_encoder(
        identity.encoder, weights, identity.levels, identity.image_size, identity.precision
    )


def checked_weights(identity: Identity, checkpoint: Path | None) -> Path:
    """The file with an identity's weights, None for the official one.

    Raises CheckpointError where the file is another.
    """
    wanted = name_by_hash(identity.weights) or f"SHA-256 {identity.weights[:12]}…"
    if checkpoint is None:
        official = OFFICIAL.get(identity.encoder)
        if official is None or official.sha256 != identity.weights:
            raise CheckpointError(
                f"the run's features were made with {identity.encoder} of {wanted}, which is not "
                "the official file: give it with --checkpoint"
            )
        return official_checkpoint(identity.encoder)
    if not checkpoint.is_file():
        raise CheckpointError(f"no checkpoint at {checkpoint}: check the path")
    found = file_sha256(checkpoint)
    if found != identity.weights:
        raise CheckpointError(
            f"{checkpoint} has SHA-256 {found[:12]}…, the run's features were made with {wanted}: "
            "give that file with --checkpoint"
        )
    return checkpoint
