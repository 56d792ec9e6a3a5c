"""How to read a source. Nothing here imports heavy packages, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from samcache.cache.errors import ConfigError

NO_GROUPS = "none"  # in place of a group column: patients of DICOM files do not count either

Frames = Literal["first", "middle", "all"]


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source; None means the usual name, or none where it is absent."""

    label: str | None = None  # column of a manifest; "class" or "label" where None
    no_labels: bool = False  # labels and class folders are not read
    group: str | None = None  # column of patients or lesions, whose samples stay in one split
    keep_columns: tuple[str, ...] = ()  # of a manifest, kept with the samples
    root: Path | None = None  # folder the file column starts from; the manifest's own where None
    split_seed: int = 0  # for sources without splits
    images_key: str | None = None  # of HDF5 files; "x" where none is recorded
    labels_key: str = "y"
    window: tuple[float, float] | None = None  # shown of DICOM and of grey deeper than 8 bits
    frames: Frames | None = None  # of DICOM files with several; "first" where none is recorded
    follow_links: bool = False  # out of a folder; never recorded, so that each user decides

    def __post_init__(self) -> None:
        """Raises ConfigError for options that exclude each other."""
        if self.no_labels and self.label is not None:
            raise ConfigError(
                "a column of labels is named, and no labels shall be read: give one of the two",
                hint="label_column no_labels",
            )
