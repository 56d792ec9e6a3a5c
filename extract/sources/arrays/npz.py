"""MedMNIST's .npz files: train, val and test images, with or without a label each."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.files.npz_arrays import Array, read_npz_arrays
from samcache.cache.format.samples import NO_LABEL, SPLITS
from samcache.cache.labels.classes import index_classes
from samcache.cache.progress import Remark
from samcache.extract.images.decode import pixels_to_image
from samcache.extract.sources.base import Source, SourceImage

_PARTS = ("images", "labels")


class NpzSource(Source):
    """Images held in memory; ids are the split and the place in it, such as ``train/000012``."""

    def __init__(
        self, name: str, classes: tuple[str, ...], samples: pd.DataFrame, images: list[Array]
    ) -> None:
        super().__init__(name, classes, samples, "source")
        self._images = images

    def read_image(self, row: int) -> SourceImage:
        pixels = self._images[row]
        header = f"{pixels.dtype.str}{pixels.shape}".encode()
        digest = hashlib.sha256(header + pixels.tobytes()).hexdigest()
        return SourceImage(digest, partial(pixels_to_image, pixels))

    def with_classes(self, classes: tuple[str, ...]) -> "NpzSource":
        """Return the same source with other names for its classes."""
        return NpzSource(self.name, classes, self.samples, self._images)

    def take(self, rows: list[int]) -> "NpzSource":
        images = [self._images[row] for row in rows]
        return NpzSource(self.name, self.classes, self.samples.iloc[rows], images)


def open_npz(path: Path, no_labels: bool = False) -> NpzSource:
    """Read a MedMNIST file: arrays ``{train,val,test}_{images,labels}``, uint8 and integers.

    Without label arrays, with several labels an image, or with ``no_labels``, the images have no
    labels. Raises SourceError where the file is damaged, pickled or otherwise not of that layout.
    """
    images: list[Array] = []
    tables: list[pd.DataFrame] = []
    arrays = _read_arrays(path, no_labels)
    width = max(labels.shape[1] for _, labels in arrays.values())
    for split, (pixels, labels) in arrays.items():
        images.extend(pixels)
        ids = [f"{split}/{place:06d}" for place in range(len(pixels))]
        first = labels[:, 0].astype(str) if width == 1 else NO_LABEL
        tables.append(pd.DataFrame({"id": ids, "label": first, "split": split}))
    samples = pd.concat(tables, ignore_index=True).assign(group="")
    classes: tuple[str, ...] = ()
    if width == 1:
        classes, samples["label"] = index_classes(samples["label"])
        _check_classes(path, classes)
    source = NpzSource(path.stem, classes, samples, images)
    if width > 1:
        source.remarks = (
            Remark(
                f"{path} has {width} labels an image: samcache stores the features without labels; "
                f"train with {path.name} as the table of labels, and with the kind multilabel",
                "labels+kind",
            ),
        )
    return source


def _read_arrays(path: Path, no_labels: bool) -> dict[str, tuple[Array, Array]]:
    """Split -> images, and labels (n, L); L is 0 where there are none."""
    parts = _PARTS[:1] if no_labels else _PARTS
    names = {f"{split}_{part}" for split in SPLITS for part in parts}
    found, there = read_npz_arrays(path, names)
    labelled = any(name.endswith(_PARTS[1]) for name in found)
    splits = {
        split: _split_arrays(path, split, found, labelled)
        for split in SPLITS
        if f"{split}_images" in found
    }
    if not splits:
        raise SourceError(
            f"{path} should hold MedMNIST's arrays train_images, train_labels, …; found "
            f"{', '.join(sorted(there)) or 'nothing'}"
        )
    return splits


def _split_arrays(
    path: Path, split: str, found: dict[str, Array], labelled: bool
) -> tuple[Array, Array]:
    images, labels = found[f"{split}_images"], found.get(f"{split}_labels")
    if labelled and labels is None:
        raise SourceError(
            f"{path} holds {split}_images but no {split}_labels: add them, or read no labels",
            hint="no_labels",
        )
    colour = images.ndim == 4 and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or 0 in images.shape[1:]:
        raise SourceError(
            f"{path}: {split}_images should be uint8 (n, h, w) or (n, h, w, 3), found "
            f"{images.dtype} {images.shape}"
        )
    if labels is None:
        labels = np.empty((len(images), 0), np.int64)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or len(labels) != len(images) or labels.dtype.kind not in "iu":
        raise SourceError(
            f"{path}: {split}_labels should be {len(images)} integers, found {labels.shape} "
            f"of {labels.dtype}"
        )
    if not len(images):
        raise SourceError(f"{path}: {split}_images is empty: the split needs at least one image")
    return images, labels


def _check_classes(path: Path, classes: tuple[str, ...]) -> None:
    present = sorted(int(name) for name in classes)
    for place, label in enumerate(present):
        if label != place:
            raise SourceError(
                f"{path}: labels should run from 0 without gaps, found {present}: class "
                f"{min(place, label)} has no images or is no class"
            )
