"""The options of an extraction. Nothing here imports torch, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from samcache.extract.encoders.registry import LEVELS
from samcache.extract.sources.options import SourceOptions


@dataclass(frozen=True)
class ExtractOptions:
    """What to extract and how; None means the default of the encoder or of the machine."""

    source: Path
    store: str | Path  # a folder or a URL
    encoder: str
    checkpoint: Path | None = None
    image_size: Annotated[int, Meta(ge=16)] | None = None
    preprocessing: Literal["sam", "medsam"] | None = None
    levels: tuple[str, ...] = LEVELS
    pool: Annotated[int, Meta(ge=1)] | None = None
    dtype: Literal["float16", "float32"] = "float16"
    views: Literal["identity", "flips", "dihedral"] = "identity"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    frame_size: Annotated[int, Meta(ge=1, le=4096)] | None = None  # 0: no images
    device: str = "auto"
    batch_size: Annotated[int, Meta(ge=1)] | None = None  # None: what fits
    shard_rows: Annotated[int, Meta(ge=1, le=65536)] = 64
    limit: Annotated[int, Meta(ge=1)] | None = None
    strict: bool = False
    allow_split_groups: bool = False
    hash_ids: bool = False
    prune: bool = False
    relabel: bool = False
    reuse: tuple[str, ...] = ()  # stores of the same identity to copy from
    assume_unchanged: bool = False
    accept_unreadable: bool = False  # do not report images that the store records as unreadable
    reading: SourceOptions = field(default_factory=SourceOptions)
