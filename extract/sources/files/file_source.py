"""Images that are files below one root folder, and reading such a file safely."""

import copy
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Self

import pandas as pd

from samcache.cache.errors import ImageError
from samcache.cache.files.regular_file import IrregularFileError, open_regular
from samcache.extract.images.colour import Window
from samcache.extract.images.decode import decode_image
from samcache.extract.images.oddities import has_several_frames
from samcache.extract.sources.base import Source, SourceImage
from samcache.extract.sources.files.near_names import suggest_name

LINK_OUT = "is a link out of the image folder: follow such links, or copy the file there"

_LARGEST_FILE = 1 << 30  # bytes; the largest image that is decoded has 0.7e9 at 16 bits with alpha


class FileSource(Source):
    """Images that are files below one root folder; a sample's id is its path below the root."""

    def __init__(
        self,
        name: str,
        root: Path,
        classes: tuple[str, ...],
        samples: pd.DataFrame,
        split_origin: str = "source",
        window: Window | None = None,
        follow_links: bool = False,
    ) -> None:
        """window: intensity window for DICOM and grey deeper than 8 bits; None is their own.

        follow_links: whether links out of the root are followed.
        """
        super().__init__(name, classes, samples, split_origin)
        self.root = root.resolve()
        self.window = window
        self._follow_links = follow_links

    def list_paths(self) -> list[Path]:
        """The path of each row's file."""
        return [self.root / name for name in self.samples["id"].tolist()]

    def may_read(self, path: Path) -> bool:
        """Whether a file may be read: it is below the root, or the user follows links out."""
        return self._follow_links or not is_link_out(self.root, path)

    def read(self, row: int) -> bytes:
        """Read a row's file; raises ImageError if it cannot be read."""
        return read_file(self.root, self.samples["id"].iloc[row], self._follow_links)

    def read_image(self, row: int) -> SourceImage:
        data = self.read(row)
        return SourceImage(
            hashlib.sha256(data).hexdigest(),
            partial(decode_image, data, self.window),
            partial(has_several_frames, data),
        )

    def take(self, rows: list[int]) -> Self:
        taken = copy.copy(self)
        taken.samples = self.samples.iloc[rows].reset_index(drop=True)
        return taken


def read_file(root: Path, name: str, follow_links: bool = False) -> bytes:
    """Read a regular file below ``root``; raises ImageError.

    Names and links come from outside. None may lead out of the root, unless the user follows
    links. None may make samcache wait (a FIFO) or read without end (a device).
    """
    try:
        path = Path(os.path.realpath(root / name))
        if not follow_links and not path.is_relative_to(root):
            raise ImageError(LINK_OUT)
        with os.fdopen(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST_FILE:
                raise ImageError(f"is too large: {size / 1e9:.1f} GB")
            return file.read()
    except IrregularFileError:
        is_folder = os.path.isdir(root / name)  # noqa: PTH112 - is_dir raises for some names
        reason = "cannot be read: Is a directory" if is_folder else "is no regular file"
        raise ImageError(reason) from None
    except FileNotFoundError:
        raise ImageError(_explain_missing(root, name)) from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ImageError("cannot be read: no file can have such a name") from None


def _explain_missing(root: Path, name: str) -> str:
    """Explain why a file is missing, and suggest the name that was probably meant."""
    if (root / name).is_symlink():
        return (
            "is a link to a file that is not there: fetch it (dvc pull, git annex get, or download "
            "it again)"
        )
    meant = suggest_name(root, name)
    return "cannot be read: No such file or directory" + (f"; {meant}" if meant else "")


def is_link_out(root: Path, path: Path) -> bool:
    """Whether a path below a resolved root is a link out of it."""
    return not Path(os.path.realpath(path)).is_relative_to(root)
