"""MedMNIST's .npz files: train, val and test images with their labels."""

import hashlib
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.samples import SPLITS
from samcache.extract.decode import pixels_to_rgb
from samcache.extract.sources import Source, SourceImage, class_index

Array = npt.NDArray[np.generic]


class NpzSource(Source):
    """Images held in memory; ids are the split and the place in it, such as ``train/000012``."""

    def __init__(
        self, name: str, classes: tuple[str, ...], samples: pd.DataFrame, images: list[Array]
    ) -> None:
        super().__init__(name, classes, samples, "source")
        self._images = images

    def image(self, row: int) -> SourceImage:
        pixels = self._images[row]
        header = f"{pixels.dtype.str}{pixels.shape}".encode()
        digest = hashlib.sha256(header + pixels.tobytes()).hexdigest()
        return SourceImage(digest, partial(pixels_to_rgb, pixels))

    def with_classes(self, classes: tuple[str, ...]) -> "NpzSource":
        """The same source with other names for its classes."""
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
    classes, samples["label"] = class_index(samples["label"])
    _check_classes(path, classes)
    return NpzSource(path.stem, classes, samples, images)


def _read_arrays(path: Path) -> dict[str, tuple[Array, Array]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickle" in str(error).lower():
            raise SourceError(
                f"{path} holds pickled objects, which can run code: save it anew as plain "
                "uint8 and integer arrays"
            ) from None
        raise SourceError(f"{path} is damaged ({error}): download it again") from None
    except (OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise SourceError(f"{path} is not a readable .npz ({error}): download it again") from None
    splits = {
        split: _split_arrays(path, split, found) for split in SPLITS if f"{split}_images" in found
    }
    if not splits:
        raise SourceError(
            f"{path} should hold MedMNIST's arrays train_images, train_labels, …; found "
            f"{', '.join(sorted(found)) or 'nothing'}"
        )
    return splits


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
    if images.dtype != np.uint8 or not (images.ndim == 3 or colour):
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
    present = {int(name) for name in classes}
    absent = sorted(set(range(max(present) + 1)) - present)
    if absent or min(present) < 0:
        raise SourceError(
            f"{path}: labels should run from 0 without gaps, found {sorted(present)}: "
            f"class {absent[0] if absent else min(present)} has no images or is no class"
        )
