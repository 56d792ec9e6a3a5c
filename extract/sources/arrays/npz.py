"""MedMNIST's .npz files: train, val and test images, with or without a label each."""

import hashlib
import io
import math
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.files.failed_download import describe_failed_download
from samcache.cache.format.samples import NO_LABEL, SPLITS
from samcache.cache.labels.classes import index_classes
from samcache.cache.memory import free_memory
from samcache.cache.progress import Remark
from samcache.cache.text import describe_bytes
from samcache.extract.images.decode import pixels_to_image
from samcache.extract.sources.arrays.bounds import MOST_PACKED
from samcache.extract.sources.base import Source, SourceImage

Array = npt.NDArray[np.generic]

_PARTS = ("images", "labels")
_LONGEST_HEADER = 1 << 16  # bytes; NumPy reads 10,000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


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
    try:
        if instead := describe_failed_download(path):
            raise SourceError(f"{path} {instead}")
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            used = there.intersection(f"{split}_{part}" for split in SPLITS for part in parts)
            _refuse_too_large(path, sum(_count_claimed_bytes(path, archive, name) for name in used))
            found = {name: _read_array(archive, name) for name in sorted(used)}
    except SourceError:
        raise
    except MemoryError as error:
        raise SourceError(f"{path} needs more memory than there is: {error}") from None
    except Exception:  # zip, its decoders and NumPy fail each in its own manner
        raise SourceError(
            f"{path} is not a readable .npz, but damaged or cut short: download it again"
        ) from None
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


def _count_claimed_bytes(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """Count the bytes of one array by its header; raises SourceError for objects, bad headers."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as packed:  # a header may claim, and unpack to, 4 GB
        file = io.BytesIO(packed.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise SourceError(
            f"{path} holds pickled objects, which can run code: save it again as plain uint8 and "
            "integer arrays"
        )
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > min(member.file_size, MOST_PACKED * path.stat().st_size):
        raise SourceError(
            f"{path} is damaged: {name} claims {claimed / 1e9:.1f} GB, more than the file can "
            "hold: download it again"
        )
    return claimed


def _refuse_too_large(path: Path, need: int) -> None:
    """Raise SourceError before memory is filled: zeros are packed a thousandfold."""
    free = free_memory()
    if need > free:
        raise SourceError(
            f"{path} holds {describe_bytes(need)} unpacked, and {describe_bytes(free)} of memory "
            "are free: write its images to files or HDF5, which are read one by one"
        )


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values


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
