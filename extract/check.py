"""Check a source: read every image, encode nothing, and report what the source holds."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from samcache.cache.errors import ImageError
from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import count_classes
from samcache.cache.labels.duplicates import Duplicates, find_duplicates, find_split_groups
from samcache.cache.progress import OnProgress, OnRemark, Remark, ignore_progress, ignore_remark
from samcache.extract.images.oddities import NO_ODDITIES, Oddities, is_single_colour
from samcache.extract.sources.base import Source
from samcache.extract.sources.known_splits import keep_copies_together
from samcache.extract.sources.training_remarks import describe_training


@dataclass(frozen=True)
class SourceReport:
    """What a source holds.

    counts: split -> class (UNLABELLED without classes) -> images; sizes: "height x width" ->
    images; unreadable: id -> reason; groups: group -> its splits, where the group is in more than
    one; passed_over: files that are not taken for images; oddities: of images that can be read.
    """

    name: str
    classes: tuple[str, ...]
    split_origin: str
    counts: dict[str, dict[str, int]]
    sizes: dict[str, int]
    unreadable: dict[str, str]
    duplicates: list[Duplicates]
    groups: dict[str, tuple[str, ...]]
    passed_over: tuple[str, ...]
    oddities: Oddities
    remarks: tuple[Remark, ...] = ()  # why training would be refused, and odd classes


def check_source(
    source: Source,
    split_seed: int = 0,
    limited: bool = False,
    on_progress: OnProgress = ignore_progress,
    on_remark: OnRemark = ignore_remark,
) -> SourceReport:
    """Read and decode every image of a source.

    split_seed: of splits that were drawn; limited: whether the source was reduced to some images.
    """
    for remark in source.remarks:
        on_remark(remark)
    found = _read_all(source, partial(on_progress, "reading"))
    oddities = sum(found.pop("oddities"), NO_ODDITIES)
    samples = source.samples.assign(**found)
    if source.split_origin.startswith(DRAWN):
        samples["split"] = keep_copies_together(source.samples, list(found["sha256"]), split_seed)
    status = np.where(samples["reason"] == "", "ok", "unreadable")
    bad = samples[samples["reason"] != ""]
    sizes = samples.loc[samples["reason"] == "", "size"].value_counts()
    return SourceReport(
        name=source.name,
        classes=source.classes,
        split_origin=source.split_origin,
        counts=_count_images(samples, source.classes),
        sizes={str(size): int(count) for size, count in sizes.items()},
        unreadable=dict(zip(bad["id"], bad["reason"], strict=True)),
        duplicates=find_duplicates(samples),
        groups=find_split_groups(samples),
        passed_over=source.passed_over,
        oddities=oddities,
        remarks=tuple(
            describe_training(source.name, samples.assign(status=status), source.dataset, limited)
        ),
    )


def _read_all(source: Source, on_images: Callable[[int, int], None]) -> pd.DataFrame:
    """SHA-256, size, reason and oddities of every image."""
    rows = range(len(source.samples))
    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(partial(_read_image, source), rows):
            found.append(one)
            on_images(len(found), len(rows))
    return pd.DataFrame(found, columns=["sha256", "size", "reason", "oddities"])


def _read_image(source: Source, row: int) -> tuple[str, str, str, Oddities]:
    """SHA-256, size, the reason why the image cannot be read, and oddities, of one image."""
    sha256 = ""
    try:
        image = source.read_image(row)
        sha256 = image.sha256
        decoded = image.decode()
    except ImageError as error:
        return sha256, "", str(error), NO_ODDITIES
    name = source.samples["id"].iloc[row]
    oddities = Oddities.of(name, image.several(), is_single_colour(decoded))
    return sha256, f"{decoded.height} x {decoded.width}", "", oddities


def _count_images(samples: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {split: count_classes(samples[samples["split"] == split], classes) for split in SPLITS}
