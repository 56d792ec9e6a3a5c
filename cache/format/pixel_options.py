"""The options of reading that decide which pixels a store's samples have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

PROVENANCE = "reading"  # the key of a store's provenance, and of a run's config.json
MIXED = "mixed"  # of a store that was merged from stores with different options

FRAMES = ("first", "middle", "all")
_LONGEST = 1000  # characters of a name; a longer name is ignored


@dataclass(frozen=True)
class PixelOptions:
    """The options of reading that a store records; None where the source has no use for one.

    The options are no part of the identity: a sample's id and hash name its frame, and its
    features do not depend on the other samples.
    """

    frames: str | None = None  # of DICOM files with several: one of FRAMES, or MIXED
    images_key: str | None = None  # the array of images in HDF5 files, or MIXED

    def to_json(self) -> dict[str, str]:
        """The options that are used, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "PixelOptions | None":
        """The options in a store's provenance or a run's config.json.

        None where the record has none: older stores and runs have none.
        """
        found = record.get(PROVENANCE)
        if not isinstance(found, dict):
            return None
        frames, key = found.get("frames"), found.get("images_key")
        return cls(
            frames if frames in (*FRAMES, MIXED) else None,
            key if isinstance(key, str) and len(key) <= _LONGEST else None,
        )


def join_pixel_options(options: Iterable[PixelOptions | None]) -> PixelOptions | None:
    """The options of a store that is merged from others; None where none of them records one."""
    known = [each for each in options if each is not None]
    if not known:
        return None
    return PixelOptions(
        _join(each.frames for each in known),
        _join(each.images_key for each in known),
    )


def _join(values: Iterable[str | None]) -> str | None:
    found = {value for value in values if value is not None}
    return MIXED if len(found) > 1 else next(iter(found), None)
