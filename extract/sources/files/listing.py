"""The files of folders: which of them are meant as images."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from samcache.cache.errors import SourceError
from samcache.extract.images.dicom import file as dicom_file
from samcache.extract.images.dicom import frames as dicom

# what Pillow calls files of decode.FORMATS
IMAGE_SUFFIXES = dicom.SUFFIXES | {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
    ".avif", ".avifs",
}  # fmt: skip


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images below a folder, and the other files there, hidden ones aside; each in order.

    Raises SourceError for a folder that cannot be read.
    """
    files = sorted(path for path in list_files_below(folder) if not path.name.startswith("."))
    images = [path for path in files if is_image(path)]
    return images, sorted(set(files).difference(images))


def list_files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, by links to folders too, but no folder twice and none above it.

    Raises SourceError for a folder that cannot be read.
    """
    seen = {str(above) for above in Path(os.path.realpath(folder)).parents}
    folders, links = [folder], deque[Path]()
    while folders or links:
        here = folders.pop() if folders else links.popleft()  # files keep their own folder's name
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        for entry in _list_entries(here):
            if not _is_folder(entry):
                yield Path(entry)
            elif entry.is_symlink():
                links.append(Path(entry))
            else:
                folders.append(Path(entry))


def list_subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones aside, in order; raises SourceError."""
    return [
        Path(entry) for entry in _list_entries(folder) if _is_folder(entry) and _is_shown(entry)
    ]


def list_loose_files(folder: Path) -> list[Path]:
    """The files in a folder itself, hidden ones aside, in order; raises SourceError."""
    return [
        Path(entry) for entry in _list_entries(folder) if not _is_folder(entry) and _is_shown(entry)
    ]


def is_image(path: Path) -> bool:
    """Whether a file of a class folder is meant as an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES or is_meant_as_dicom(path)


def is_meant_as_dicom(path: Path) -> bool:
    """Whether a file is DICOM; scanners' exports have no suffix, or a number for one."""
    unnamed = path.suffix.strip(".0123456789") == ""
    named = path.suffix.lower() in dicom.SUFFIXES
    return (named or unnamed) and dicom_file.is_dicom_file(path)


def _list_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            f"folder {folder} cannot be read ({error.strerror}): make it readable, or move it out"
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where we may not look: its own row will say so
        return False


def _is_shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".")
