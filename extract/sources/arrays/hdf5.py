"""Images in HDF5 files: PatchCamelyon's pairs of files, or one file with images and labels."""

import copy
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from samcache.cache.errors import ImageError, SourceError
from samcache.cache.format.pixel_options import PixelOptions
from samcache.cache.format.samples import NO_LABEL
from samcache.cache.labels.classes import index_classes
from samcache.cache.labels.split_names import find_split
from samcache.extract.images.decode import LARGEST, pixels_to_image
from samcache.extract.sources.arrays.bounds import check_chunks, check_claims
from samcache.extract.sources.base import Source, SourceImage
from samcache.extract.sources.splits import describe_draw, draw_splits

SUFFIXES = frozenset({".h5", ".hdf5", ".hdf"})

# camelyonpatch_level_2_split_train_x.h5 and …_train_y.h5
_PAIRED = re.compile(r"(.+)_(train|training|valid|val|validation|test)_([xy])", re.IGNORECASE)
_SLICE = 4096  # labels read at a time


class Hdf5Source(Source):
    """Images read one by one from arrays (n, h, w) or (n, h, w, 1 or 3) of uint8."""

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        samples: pd.DataFrame,
        places: list[tuple[h5py.Dataset, int]],
        split_origin: str,
    ) -> None:
        super().__init__(name, classes, samples, split_origin)
        self._places = places

    def read_image(self, row: int) -> SourceImage:
        array, place = self._places[row]
        try:
            check_chunks(array, place, place + 1)
            pixels = array[place]
        except (OSError, ValueError, RuntimeError):
            raise ImageError("cannot be read: its chunk of the file is damaged") from None
        header = f"{pixels.dtype.str}{pixels.shape}".encode()
        digest = hashlib.sha256(header + pixels.tobytes()).hexdigest()
        return SourceImage(digest, partial(pixels_to_image, pixels))

    def take(self, rows: list[int]) -> "Hdf5Source":
        taken = copy.copy(self)
        taken.samples = self.samples.iloc[rows].reset_index(drop=True)
        taken._places = [self._places[row] for row in rows]
        return taken


def open_hdf5(path: Path, images: str, labels: str | None, split_seed: int) -> Hdf5Source:
    """Open an HDF5 file with the arrays ``images`` and ``labels``, or PatchCamelyon's files.

    labels: None reads none.

    PatchCamelyon keeps images in ``…_train_x.h5`` and labels in ``…_train_y.h5`` beside it, and so
    for valid and test: any one of the files, or their folder, opens all. Pixels are read when they
    are asked for. Raises SourceError for other layouts.
    """
    name, pairs = _find_pairs(path)
    arrays = {
        split: (
            _open_array(x, images),
            _open_array(_name_labels_file(x), labels) if labels else None,
        )
        for split, x in pairs.items()
    } or {"": (_open_array(path, images), _open_array(path, labels) if labels else None)}
    tables, places = [], []
    for split, (pixels, values) in arrays.items():
        _check_arrays(path, pixels, values)
        ids = [f"{split}/{n:07d}".lstrip("/") for n in range(len(pixels))]
        names = _read_labels(path, values) if values is not None else NO_LABEL
        tables.append(pd.DataFrame({"id": ids, "label": names, "split": split}))
        places += [(pixels, n) for n in range(len(pixels))]
    samples = pd.concat(tables, ignore_index=True).assign(group="")
    classes: tuple[str, ...] = ()
    if labels:
        classes, samples["label"] = index_classes(samples["label"])
    origin = "source"
    if not pairs:
        samples["split"] = draw_splits(samples, split_seed)
        origin = describe_draw(split_seed, classes, grouped=False)
    source = Hdf5Source(name, classes, samples, places, origin)
    source.pixel_options = PixelOptions(images_key=images)
    return source


def has_pairs(files: list[Path]) -> bool:
    """Whether some of these files are PatchCamelyon's: images in one, and labels in another."""
    pairs = [match.groups() for file in files if (match := _PAIRED.fullmatch(file.stem))]
    kinds = {(name, split, kind.lower()) for name, split, kind in pairs}
    return any((name, split, "y") in kinds for name, split, kind in kinds if kind == "x")


def _find_pairs(path: Path) -> tuple[str, dict[str, Path]]:
    """Find the common part of PatchCamelyon's file names, and split -> file of images.

    No splits if a file has another name. Raises SourceError for a folder of other files.
    """
    own = _PAIRED.fullmatch(path.stem)
    if own is None and not path.is_dir():
        return path.stem, {}
    name, found = own[1] if own else "", dict[str, Path]()
    for file in sorted((path.parent if own else path).iterdir()):
        match = _PAIRED.fullmatch(file.stem) if file.suffix.lower() in SUFFIXES else None
        split = find_split(match[2]) if match else None
        if match and split and match[3].lower() == "x" and match[1] == (name or match[1]):
            name, found[split] = match[1], file
    if not found:
        raise SourceError(f"{path} holds no files named …_train_x.h5: give one HDF5 file")
    return name, found


def _name_labels_file(images: Path) -> Path:
    """Name the file with the labels of PatchCamelyon's images: ``…_y.h5`` for ``…_x.h5``."""
    return images.with_name(f"{images.stem[:-1]}y{images.suffix}")


def _open_array(path: Path, key: str) -> h5py.Dataset:
    """Open one array of a file, whose values are in the file itself."""
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"{path} is not an HDF5 file, or cut short: {error}") from None
    link: Any = file.get(key, getlink=True)
    found = file.get(key) if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset):
        names = ", ".join(sorted(file)) or "nothing"
        raise SourceError(
            f"{path} should hold an array {key!r}, found {names}: name the arrays of images and "
            "labels, or read no labels",
            hint="images_key labels_key no_labels",
        )
    if found.external or found.is_virtual:
        raise SourceError(
            f"{path}: {key} is stored in other files: copy it into this file (h5repack)"
        )
    check_claims(path, found, LARGEST)
    return found


def _check_arrays(path: Path, pixels: h5py.Dataset, labels: h5py.Dataset | None) -> None:
    colour = pixels.ndim == 4 and pixels.shape[3] in (1, 3)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or colour) or 0 in pixels.shape[1:]:
        raise SourceError(
            f"{path}: images should be uint8 (n, h, w) or (n, h, w, 3), found {pixels.dtype} "
            f"{pixels.shape}"
        )
    if labels is None:
        return
    shape = labels.shape or ()  # None where HDF5's data space is null
    if shape[:1] != pixels.shape[:1] or any(extent != 1 for extent in shape[1:]):
        raise SourceError(
            f"{path}: labels should be {pixels.shape[0]} values, one an image, found shape "
            f"{labels.shape}"
        )
    if labels.dtype.kind not in "iub":
        raise SourceError(f"{path}: labels should be integers, found {labels.dtype}")


def _read_labels(path: Path, values: h5py.Dataset) -> list[str]:
    """Read every label as text, in slices."""
    labels = []
    try:
        for first in range(0, values.shape[0], _SLICE):
            check_chunks(values, first, min(first + _SLICE, values.shape[0]))
            labels += [str(int(label)) for label in values[first : first + _SLICE].reshape(-1)]
    except (ImageError, OSError, ValueError, RuntimeError):
        raise SourceError(f"{path}: its labels cannot be read, the file is damaged") from None
    return labels
