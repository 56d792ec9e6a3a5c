"""What kind of source a path is, by its name and by what lies in a folder."""

from itertools import chain
from pathlib import Path
from typing import Literal

from samcache.extract.sources.arrays import hdf5 as hdf5_source
from samcache.extract.sources.arrays.medmnist import PREFIX
from samcache.extract.sources.files import manifest as manifests
from samcache.extract.sources.files.listing import (
    is_image,
    list_files_below,
    list_loose_files,
    list_subfolders,
)

Kind = Literal["medmnist", "npz", "hdf5", "manifest", "folder", "file"]


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
    if suffix in hdf5_source.SUFFIXES:
        return "hdf5"
    if suffix == ".npz":
        return "npz"
    return "manifest" if suffix in manifests.SUFFIXES else "file"


def _is_hdf5_folder(folder: Path) -> bool:
    loose = list_loose_files(folder)
    found = [file for file in loose if file.suffix.lower() in hdf5_source.SUFFIXES]
    below = chain.from_iterable(map(list_files_below, list_subfolders(folder)))
    if not found or any(_is_shown_image(file) for file in below):
        return False
    return hdf5_source.has_pairs(found) or not any(map(_is_shown_image, loose))


def _is_shown_image(path: Path) -> bool:
    return not path.name.startswith(".") and is_image(path)
