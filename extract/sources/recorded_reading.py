"""Read a source as a store or a run says that its images were read, or refuse to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from samcache.cache.errors import SourceError, StoreError
from samcache.cache.format.description import ROOT, read_description
from samcache.cache.format.pixel_options import MIXED, PixelOptions
from samcache.cache.format.samples import read_newest_generation
from samcache.cache.objects.location import open_objects
from samcache.extract.sources.base import Source
from samcache.extract.sources.options import Frames, SourceOptions

_NAMES = {"frames": "frames", "images_key": "image array"}
_DEFAULTS = PixelOptions(frames="first", images_key="x")


def follow_reading(
    asked: SourceOptions, recorded: PixelOptions | None, where: str
) -> SourceOptions:
    """The options of reading, with what is recorded where nothing is asked for.

    where: whose record that is. Raises SourceError where it says only that stores which were read
    differently were merged.
    """
    if recorded is None:
        return asked
    for name, text in _NAMES.items():
        if getattr(asked, name) is None and getattr(recorded, name) == MIXED:
            raise SourceError(
                f"{where} is merged from stores that were read with different {text}: give the "
                "right one for this source",
                hint=name,
            )
    return replace(
        asked,
        frames=asked.frames or cast("Frames | None", recorded.frames),
        images_key=asked.images_key or recorded.images_key,
    )


def follow_store(asked: SourceOptions, location: str | Path) -> SourceOptions:
    """The options of reading for a store to go on with; as they are where there is none yet.

    A store without labels takes none later; columns that the store
    keeps are read. Raises StoreError where its root record is damaged.
    """
    objects = open_objects(location)
    if objects.find_size(ROOT) is None:
        return asked
    description = read_description(objects)
    kept = read_newest_generation(objects).kept
    asked = replace(asked, keep_columns=tuple(dict.fromkeys((*kept, *asked.keep_columns))))
    if not description.dataset.classes:
        if asked.label is not None:
            raise StoreError(
                f"{objects.name} holds no labels, and never takes any: train it with a table of "
                "labels and the column with the answer",
                hint="labels+target",
            )
        asked = replace(asked, no_labels=True)
    recorded = PixelOptions.from_record(description.provenance)
    return follow_reading(asked, recorded, objects.name)


def refuse_other_reading(source: Source, provenance: Mapping[str, Any], store: str) -> None:
    """Raise StoreError where a source is read otherwise than the store of this provenance was.

    Stores of before record nothing, and take any.
    """
    recorded = PixelOptions.from_record(provenance)
    if recorded is None:
        return
    for name, text in _NAMES.items():
        now = getattr(source.pixel_options, name)
        before = getattr(recorded, name) or getattr(_DEFAULTS, name)
        if now is not None and before not in (now, MIXED):
            raise StoreError(
                f"{store} was read with {text} {before}, this run reads with {text} {now}, which "
                f"gives other pixels: use {text} {before}, or another store",
                hint=f"{name} store",
            )


def follow_run(asked: SourceOptions, recorded: PixelOptions, run: str) -> SourceOptions:
    """The options of reading for images that a run shall predict; raises SourceError.

    Frames must be chosen as those that the run was trained on were.
    """
    frames = recorded.frames
    if asked.frames is not None and frames not in (None, MIXED, asked.frames):
        raise SourceError(
            f"{run} was trained on images read with frames {frames}, found frames {asked.frames}: "
            "leave the option out to read the images as the run needs",
            hint="frames",
        )
    return follow_reading(asked, recorded, f"the store of {run}")
