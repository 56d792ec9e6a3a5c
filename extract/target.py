"""What an extraction fills: its source, its encoder, and the store that both of them fit."""

import platform
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.format.description import DRAWN, Description
from samcache.cache.format.identity import Identity
from samcache.cache.format.pixel_options import PROVENANCE
from samcache.cache.format.precision import Precision
from samcache.cache.format.views import VIEW_SETS
from samcache.cache.labels.duplicates import refuse_split_groups
from samcache.cache.objects.location import is_remote
from samcache.cache.store import Store
from samcache.extract.encoders.load import Encoder, Shapes, choose_pool, load_encoder, pool_shapes
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.encoders.precision import resolve_precision
from samcache.extract.encoders.registry import find_architecture
from samcache.extract.encoders.weights import find_official_checkpoint
from samcache.extract.images.colour import describe_window
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline.devices.device import open_device
from samcache.extract.pipeline.exactness import measure_precision, read_probe_images
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.read.rows import read_row
from samcache.extract.pipeline.shard_encoder import ShardEncoder, open_shard_encoder
from samcache.extract.sources.base import Source
from samcache.extract.sources.known_splits import ReadHashes, keep_copies_together
from samcache.extract.sources.open import open_source
from samcache.extract.sources.pseudonyms import hash_ids_in
from samcache.extract.sources.recorded_reading import follow_store, refuse_other_reading

_DEFAULT_FRAME = 256


@dataclass(frozen=True)
class Target:
    """A source and an encoder with the options that chose them, before a store is opened.

    samples: the source's table as a new store shall have it; shapes: each level's as cached.
    """

    options: ExtractOptions
    source: Source
    samples: pd.DataFrame
    checkpoint: Path
    encoder: Encoder
    identity: Identity
    shapes: Shapes

    def open_encoder(self) -> ShardEncoder:
        """Move the encoder to its device, to measure it before there is a store."""
        options = self.options
        return open_shard_encoder(
            self.encoder, self.identity, options.device, options.batch_size, options.shard_rows
        )


def open_limited(options: ExtractOptions) -> Source:
    """Open the source, reduced to the limit; raises SamcacheError where it is refused."""
    _refuse_store_within(options.source, options.store)
    source = open_source(options.source, follow_store(options.reading, options.store))
    if options.limit is not None:
        if options.prune:
            raise ConfigError(
                "a limit and pruning exclude each other, because pruning would drop all images "
                "beyond the limit: give one of the two",
                hint="limit prune",
            )
        source = source.limit(options.limit)
    if not options.allow_split_groups:
        refuse_split_groups(source.samples)
    return source


def prepare_target(options: ExtractOptions, source: Source) -> Target:
    """Load the encoder, and refuse what does not fit together; raises SamcacheError.

    source: of ``open_limited``.
    """
    architecture = find_architecture(options.encoder)
    checkpoint = options.checkpoint or find_official_checkpoint(architecture)
    encoder = load_encoder(
        architecture,
        checkpoint,
        options.levels,
        options.image_size,
        _choose_precision(options),
    )
    pool = choose_pool(encoder.shapes, encoder.image_size, options.pool)
    samples = hash_ids_in(source.samples) if options.hash_ids else source.samples
    shapes = pool_shapes(encoder.shapes, pool)
    identity = _make_identity(encoder, pool, options)
    return Target(options, source, samples, checkpoint, encoder, identity, shapes)


def follow_precision(target: Target) -> Target:
    """The target, or one in the precision of the store that another machine has begun meanwhile."""
    if _choose_precision(target.options) == target.identity.precision:
        return target
    return prepare_target(target.options, target.source)


def describe_store(target: Target, read_hashes: ReadHashes) -> tuple[Description, pd.DataFrame]:
    """The description and the samples of a new store for a target; may take minutes.

    Where splits are drawn, the images are read, so that copies of one share a split. A few images
    are encoded to measure the precision.
    """
    provenance = _describe_making(_measure_precision(target), target.source)
    description = Description(
        target.identity,
        target.source.dataset,
        target.options.shard_rows,
        target.shapes,
        provenance,
    )
    if not target.source.split_origin.startswith(DRAWN):
        return description, target.samples
    seed = target.options.reading.split_seed
    return description, _keep_copies_together(target.samples, target.source, seed, read_hashes)


def open_store(store: Store, target: Target) -> Store:
    """The store, if it fits the target; raises StoreError naming what differs."""
    differences = store.identity.list_differences(target.identity)
    if differences:
        raise StoreError(
            f"{store.location} was made with other settings: {'; '.join(differences)}. Use the "
            "same settings to resume it, or another store",
            hint="store",
        )
    refuse_other_reading(target.source, store.provenance, store.location)
    return store


def _refuse_store_within(source: Path, store: str | Path) -> None:
    """Raise ConfigError where the store would be a class folder of the next run's source."""
    if not is_remote(store) and source.resolve() in Path(store).resolve().parents:
        raise ConfigError(
            f"the store {store} is inside {source}, whose folders are classes: "
            "give a path outside the source",
            hint="store",
        )


def _choose_precision(options: ExtractOptions) -> str:
    stores = (options.store, *options.reuse)
    return resolve_precision(options.precision, open_device(options.device), stores)


def _make_identity(encoder: Encoder, pool: int, options: ExtractOptions) -> Identity:
    frame = options.frame_size
    if frame is None:
        frame = min(encoder.image_size, _DEFAULT_FRAME)
    return Identity(
        encoder=encoder.name,
        weights=encoder.weights,
        preprocessing=options.preprocessing or encoder.preprocessing,
        image_size=encoder.image_size,
        frame_size=frame,
        levels=tuple(encoder.levels),
        pool=pool,
        dtype=options.dtype,
        views=VIEW_SETS[options.views],
        precision=encoder.precision,
        window=describe_window(options.reading.window),
    )


def _keep_copies_together(
    samples: pd.DataFrame, source: Source, split_seed: int, read_hashes: ReadHashes
) -> pd.DataFrame:
    """The samples with drawn splits, where copies of an image share one."""
    sha256 = read_hashes(list(range(len(source.samples))))
    split = keep_copies_together(source.samples, sha256, split_seed)
    return samples.assign(split=split.to_numpy())


def _measure_precision(target: Target) -> Precision | None:
    """The precision contract; loads the encoder in float32 as well where the run's is not."""
    exact = None
    if target.identity.precision != "float32":
        identity = replace(target.identity, precision="float32")
        given = GivenEncoder(target.checkpoint, target.options.encoder)
        exact = load_encoder_of(identity, given).model
        exact.compiled = False
    images = read_probe_images(target.source, target.identity)
    if not images:
        _refuse_unreadable(target)
    opened = target.open_encoder()
    return measure_precision(opened.encoder, opened.batch, images, exact)


def _refuse_unreadable(target: Target) -> None:
    """Raise SourceError: nobody has any use for a store without any image."""
    first = read_row(target.source, 0, 0, KnownRows(), target.identity)
    name = target.source.samples["id"].iloc[0]
    raise SourceError(
        f"none of the images that were tried can be read, first {name}: {first.reason}; check the "
        "files, and the root folder of a manifest",
        hint="root",
    )


def _describe_making(precision: Precision | None, source: Source) -> dict[str, object]:
    """The provenance of a new store."""
    packages = ("samcache", "torch", "torchvision", "timm", "numpy", "zarr", "pillow")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        PROVENANCE: source.pixel_options.to_json(),
        **({"precision": precision.to_json()} if precision else {}),
    }
