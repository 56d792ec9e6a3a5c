"""MedMNIST's .npz files: train, val and test images with their labels."""

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
from samcache.cache.format.samples import SPLITS
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes
from samcache.extract.images.decode import pixels_to_image
from samcache.extract.sources.arrays.bounds import MOST_PACKED
from samcache.extract.sources.base import Source, SourceImage, index_classes

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


def open_npz(path: Path) -> NpzSource:
    """Read a MedMNIST file: arrays ``{train,val,test}_{images,labels}``, uint8 and integers.

    Raises SourceError where the file is damaged, pickled, multi-label or otherwise not of that
    layout.
    """
    images: list[Array] = []
    tables: list[pd.DataFrame] = []
    for split, (pixels, labels) in _read_arrays(path).items():
        images.extend(pixels)
        ids = [f"{split}/{place:06d}" for place in range(len(labels))]
        tables.append(pd.DataFrame({"id": ids, "label": labels.astype(str), "split": split}))
    samples = pd.concat(tables, ignore_index=True).assign(group="")
    classes, samples["label"] = index_classes(samples["label"])
    _check_classes(path, classes)
    return NpzSource(path.stem, classes, samples, images)


def _read_arrays(path: Path) -> dict[str, tuple[Array, Array]]:
    try:
        if instead := describe_failed_download(path):
            raise SourceError(f"{path} {instead}")
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            used = there.intersection(f"{split}_{part}" for split in SPLITS for part in _PARTS)
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
    splits = {
        split: _split_arrays(path, split, found) for split in SPLITS if f"{split}_images" in found
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


def _split_arrays(path: Path, split: str, found: dict[str, Array]) -> tuple[Array, Array]:
    images, labels = found[f"{split}_images"], found.get(f"{split}_labels")
    if labels is None:
        raise SourceError(f"{path} holds {split}_images but no {split}_labels")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise SourceError(
            f"{path} is multi-label ({labels.shape[1]} labels an image); samcache classifies one "
            "label an image: reduce it to one label first"
        )
    colour = images.ndim == 4 and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or 0 in images.shape[1:]:
        raise SourceError(
            f"{path}: {split}_images should be uint8 (n, h, w) or (n, h, w, 3), found "
            f"{images.dtype} {images.shape}"
        )
    labels = labels.reshape(-1)
    if len(labels) != len(images) or labels.dtype.kind not in "iu":
        raise SourceError(
            f"{path}: {split}_labels should be {len(images)} integers, found {len(labels)} "
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
