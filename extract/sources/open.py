"""From what a user names on the command line to a source."""

import logging
from itertools import chain
from pathlib import Path
from typing import Literal

from samcache.cache.errors import SourceError
from samcache.cache.files import text_table
from samcache.cache.objects.place_kind import is_run, is_store
from samcache.extract.sources.arrays import hdf5
from samcache.extract.sources.arrays.medmnist import PREFIX, open_medmnist
from samcache.extract.sources.arrays.npz import open_npz
from samcache.extract.sources.base import Source
from samcache.extract.sources.files.frames import choose_frames
from samcache.extract.sources.files.listing import (
    is_image,
    list_files_below,
    list_loose_files,
    list_subfolders,
)
from samcache.extract.sources.files.manifest_table import refuse_spreadsheet
from samcache.extract.sources.files.near_names import suggest_name
from samcache.extract.sources.files.open_files import open_folder, open_manifest
from samcache.extract.sources.options import SourceOptions

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
_SHOWN = 10  # classes that the log names
_log = logging.getLogger(__name__)


Kind = Literal["medmnist", "npz", "hdf5", "manifest", "folder", "file"]


def open_source(path: Path, reading: SourceOptions) -> Source:
    """Open a MedMNIST name or ``.npz``, a CSV or Parquet manifest, HDF5, or a folder of images.

    Raises SourceError where the path is missing or none of these.
    """
    source = _open(path, reading)
    count, classes = len(source.samples), ", ".join(source.classes[:_SHOWN]) or "none"
    _log.info("%s: %d images, classes %s; splits: %s", path, count, classes, source.split_origin)
    return source


def _open(path: Path, reading: SourceOptions) -> Source:
    kind = find_source_kind(path)
    if reading.keep_columns and kind not in ("manifest", "file"):
        raise SourceError(
            f"{path} has no columns to keep, such as {reading.keep_columns[0]!r}: give the "
            "manifest that has them",
            hint="keep_columns",
        )
    if kind == "medmnist":
        return open_medmnist(str(path), reading.no_labels)
    if not path.exists():
        raise describe_missing(path)
    refuse_store_and_run(path)
    match kind:
        case "npz":
            return open_npz(path, reading.no_labels)
        case "hdf5":
            images, labels = (
                reading.images_key or "x",
                None if reading.no_labels else reading.labels_key,
            )
            return hdf5.open_hdf5(path, images, labels, reading.split_seed)
        case "folder":
            return choose_frames(open_folder(path.resolve(), reading), reading.frames or "first")
        case "manifest":
            return choose_frames(open_manifest(path, reading), reading.frames or "first")
    refuse_spreadsheet(path)
    if path.suffix.lower() in _ARCHIVES:
        raise SourceError(
            f"{path} is an archive, which samcache does not read: unpack it, and give its folder"
        )
    raise SourceError(
        f"{path}: expected a .npz, a .csv or .parquet manifest, HDF5 (.h5) or a folder of "
        f"images, found {path.suffix or 'no suffix'!r}"
    )


def refuse_store_and_run(path: Path) -> None:
    """Raise SourceError for a store or a run folder, which hold no images of a source."""
    if is_store(path):
        raise SourceError(
            f"{path} is a store, whose images are encoded already: give a source of images, such "
            "as a folder of class folders; samcache cache info shows what a store holds"
        )
    if is_run(path):
        raise SourceError(
            f"{path} is a run folder: give a source of images, such as a folder of class folders"
        )


def describe_missing(path: Path) -> SourceError:
    """The error of a path where nothing is; pathlib has made one slash of a URL's two."""
    scheme, slash, _ = str(path).partition(":/")
    if slash and scheme.isalnum() and len(scheme) > 1:  # C:/ is a drive
        return SourceError(
            f"{path}: a source should be local files, found a URL ({scheme}): copy it to a folder "
            "of this machine first"
        )
    if path.name.endswith("mnist"):
        return SourceError(
            f"no such file or folder: {path}: for a MedMNIST data set give {PREFIX}NAME, such as "
            f"{PREFIX}breastmnist"
        )
    meant = suggest_name(path.parent, path.name)
    there = next((above for above in path.absolute().parents if above.is_dir()), None)
    nearest = f": the nearest folder that exists is {there}"
    return SourceError(f"no such file or folder: {path}" + (f"; {meant}" if meant else nearest))


def find_source_kind(path: Path) -> Kind:
    """The kind of a source; "file" is any other file, and what is not there.

    A folder is HDF5 where PatchCamelyon's pairs of files lie in it and no images below it, or HDF5
    files and no images at all: HDF5 files that lie beside images are passed over. Raises
    SourceError for a folder that cannot be read.
    """
    if str(path).startswith(PREFIX):
        return "medmnist"
    if path.is_dir():
        return "hdf5" if _is_hdf5_folder(path) else "folder"
    suffix = path.suffix.lower()
    if suffix in hdf5.SUFFIXES:
        return "hdf5"
    if suffix == ".npz":
        return "npz"
    return "manifest" if suffix in text_table.SUFFIXES else "file"


def _is_hdf5_folder(folder: Path) -> bool:
    loose = list_loose_files(folder)
    found = [file for file in loose if file.suffix.lower() in hdf5.SUFFIXES]
    below = chain.from_iterable(map(list_files_below, list_subfolders(folder)))
    if not found or any(_is_shown_image(file) for file in below):
        return False
    return hdf5.has_pairs(found) or not any(map(_is_shown_image, loose))


def _is_shown_image(path: Path) -> bool:
    return not path.name.startswith(".") and is_image(path)
