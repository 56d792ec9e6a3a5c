"""The options of an extraction. Nothing here imports torch, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from samcache.extract.encoders.registry import LEVELS
from samcache.extract.sources.options import SourceOptions


@dataclass(frozen=True)
class ExtractOptions:
    """What to extract and how; None means the default of the encoder or of the machine."""

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
    device: str = "auto"
    batch_size: int | None = None  # None: what fits
    shard_rows: int = 64
    limit: int | None = None
    strict: bool = False
    allow_split_groups: bool = False
    hash_ids: bool = False
    prune: bool = False
    reuse: tuple[str, ...] = ()  # stores of the same identity to copy from
    assume_unchanged: bool = False
    accept_unreadable: bool = False  # do not report images that the store records as unreadable
    reading: SourceOptions = field(default_factory=SourceOptions)
