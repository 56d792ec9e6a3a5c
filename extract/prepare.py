"""What an extraction begins with: its options, the source, the encoder, and the identity."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from samcache.cache.errors import ConfigError, SourceError
from samcache.cache.format.identity import Identity
from samcache.cache.format.views import VIEW_SETS
from samcache.cache.labels.duplicates import split_groups
from samcache.cache.objects.location import is_remote
from samcache.cache.text import count_nouns
from samcache.extract.encoders.precision import resolve_precision
from samcache.extract.encoders.registry import ARCHITECTURES, LEVELS, Encoder, load_encoder
from samcache.extract.encoders.weights import official_checkpoint
from samcache.extract.images.colour import window_text
from samcache.extract.sources.base import Source
from samcache.extract.sources.files.source import SourceOptions
from samcache.extract.sources.open import open_source
from samcache.extract.sources.pseudonyms import hashed_ids
from samcache.extract.sources.recorded_reading import follow_store

_DEFAULT_FRAME = 256
Shapes = dict[str, tuple[int, int, int]]  # level -> (C, h, w)


@dataclass(frozen=True)
class ExtractOptions:
    """The options of ``samcache extract``; None means the default of the encoder or machine."""

    source: Path
    store: str | Path  # a folder or a URL
    encoder: str
    checkpoint: Path | None = None
    image_size: int | None = None
    preprocessing: str | None = None
    levels: tuple[str, ...] = LEVELS
    pool: int = 4
    dtype: str = "float16"
    views: str = "identity"  # or flips, dihedral
    precision: str = "auto"
    frame_size: int | None = None
    device: str = "cpu"
    batch_size: int | None = None  # None: what fits
    shard_rows: int = 64
    limit: int | None = None
    strict: bool = False
    allow_split_groups: bool = False
    hash_ids: bool = False
    prune: bool = False
    reuse: tuple[str, ...] = ()  # stores of the same identity to copy from
    assume_unchanged: bool = False
    accept_unreadable: bool = False  # images that are recorded as unreadable are no news
    reading: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True)
class Prepared:
    """What is known before a store is looked at.

    samples: the source's table as a new store shall have it; shapes: each level's as cached.
    """

    source: Source
    samples: pd.DataFrame
    checkpoint: Path
    encoder: Encoder
    identity: Identity
    shapes: Shapes


def open_limited(options: ExtractOptions) -> Source:
    """Open the source, reduced as --limit says; raises SamcacheError where it is refused."""
    _refuse_store_within(options)
    source = open_source(options.source, follow_store(options.reading, options.store))
    if options.limit is not None:
        if options.prune:
            raise ConfigError(
                "--limit and --prune: all beyond the limit would be dropped: give one"
            )
        source = source.limited(options.limit)
    if not options.allow_split_groups:
        refuse_split_groups(source.samples)
    return source


def prepare(options: ExtractOptions, source: Source | None = None) -> Prepared:
    """Open the encoder, and refuse what does not fit together; raises SamcacheError.

    source: what ``open_limited`` has opened; None opens it.
    """
    source = source or open_limited(options)
    checkpoint = options.checkpoint or official_checkpoint(options.encoder)
    encoder = load_encoder(
        options.encoder,
        checkpoint,
        options.levels,
        options.image_size,
        resolve_precision(
            options.precision, torch.device(options.device), (options.store, *options.reuse)
        ),
    )
    _check_pool(encoder.shapes, options.pool, encoder.image_size)
    samples = hashed_ids(source.samples) if options.hash_ids else source.samples
    shapes = {
        level: (channels, height // options.pool, width // options.pool)
        for level, (channels, height, width) in encoder.shapes.items()
    }
    return Prepared(source, samples, checkpoint, encoder, _identity(encoder, options), shapes)


def _identity(encoder: Encoder, options: ExtractOptions) -> Identity:
    frame = options.frame_size
    if frame is None:
        frame = min(encoder.image_size, _DEFAULT_FRAME)
    return Identity(
        encoder=encoder.name,
        weights=encoder.weights,
        preprocessing=options.preprocessing or ARCHITECTURES[encoder.name].preprocessing,
        image_size=encoder.image_size,
        frame_size=frame,
        levels=tuple(encoder.levels),
        pool=options.pool,
        dtype=options.dtype,
        views=VIEW_SETS[options.views],
        precision=encoder.precision,
        window=window_text(options.reading.window),
    )


def _refuse_store_within(options: ExtractOptions) -> None:
    """Raise ConfigError where the store would be a class folder of the next run's source."""
    within = options.source.resolve()
    if not is_remote(options.store) and within in Path(options.store).resolve().parents:
        raise ConfigError(
            f"--store {options.store} lies within {options.source}, whose folders are classes: "
            "give a place beside it"
        )


def refuse_split_groups(samples: pd.DataFrame, where: str = "") -> None:
    """A patient in two splits makes the test split easier than the world: raises SourceError."""
    divided = split_groups(samples)
    verb = "stands" if len(divided) == 1 else "stand"
    for group, splits in divided.items():
        raise SourceError(
            f"{where}{count_nouns(len(divided), 'group')} {verb} in more than one split, first "
            f"{group!r} in {' and '.join(splits)}: mend the splits, or accept it with "
            "--allow-split-groups"
        )


def _check_pool(shapes: dict[str, tuple[int, int, int]], pool: int, image_size: int) -> None:
    for level, (_, height, width) in shapes.items():
        if height % pool or width % pool:
            raise ConfigError(
                f"--pool {pool} does not divide level {level}, which is {height} x {width} at "
                f"--image-size {image_size}: choose a pool that divides it"
            )
