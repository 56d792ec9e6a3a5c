"""Where images come from: a sample table and a way to load each image of it."""

import copy
import hashlib
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from PIL import Image

from samcache.cache.errors import ImageError, SourceError
from samcache.cache.format.reading import Reading
from samcache.cache.format.samples import SPLITS
from samcache.extract.images.colour import Window
from samcache.extract.images.decode import decode_image
from samcache.extract.images.remarks import has_several_frames
from samcache.extract.sources.files.near_names import did_you_mean

_LARGEST_FILE = 1 << 30  # bytes; the largest image that is decoded has 0.7e9 at 16 bits with alpha


@dataclass(frozen=True)
class SourceImage:
    """One image as its source has it: the SHA-256 (hex) of its bytes, and how to decode them.

    ``decode`` gives a Pillow image in RGB and raises ImageError where the bytes are no
    readable image. ``several`` says whether the file has further frames, of which none is asked
    for.
    """

    sha256: str
    decode: Callable[[], Image.Image]
    several: Callable[[], bool] = bool  # which is False


class Source(ABC):
    """A named, ordered set of labelled images.

    ``samples`` has the columns id (unique text), label (index into ``classes``), split ("train",
    "val" or "test") and group (text, "" where unknown). ``split_origin`` is "source", or DRAWN and
    how it was drawn. ``passed_over`` names files that lie there and are not taken for images,
    ``remarks`` are lines that a user should read before the samples are stored as they are.
    ``reading`` has the options of reading that decide which pixels these samples have.
    """

    passed_over: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    reading = Reading()

    def __init__(
        self, name: str, classes: tuple[str, ...], samples: pd.DataFrame, split_origin: str
    ) -> None:
        self.name = name
        self.classes = classes
        self.samples = samples.reset_index(drop=True)
        self.split_origin = split_origin
        self._check()

    @abstractmethod
    def image(self, row: int) -> SourceImage:
        """Read one image's bytes by its row; raises ImageError where they cannot be had."""

    @abstractmethod
    def take(self, rows: list[int]) -> "Source":
        """The same source reduced to some of its rows."""

    def limited(self, count: int) -> "Source":
        """``count`` images in the source's order: one of each class in each split, then evenly."""
        if count >= len(self.samples):
            return self
        cells = ["split", "label"]
        first = self.samples.groupby(cells).head(1).index.to_numpy()[:count]
        rest = self.samples.drop(first).sort_values(cells, kind="stable").index.to_numpy()
        spread = np.linspace(0, len(rest), count - len(first), endpoint=False).astype(int)
        return self.take(sorted(int(row) for row in [*first, *rest[spread]]))

    def _check(self) -> None:
        check_names([self.name])
        if self.samples.empty:
            raise SourceError(f"{self.name} holds no images: check the path and its layout")
        twice = self.samples["id"][self.samples["id"].duplicated()]
        if len(twice):
            raise SourceError(f"{self.name}: {twice.iloc[0]!r} is listed twice: ids must be unique")


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
        """window: shown of DICOM and of greyscale deeper than 8 bits; None is their own.

        follow_links: whether links out of the root are followed.
        """
        super().__init__(name, classes, samples, split_origin)
        self.root = root.resolve()
        self.window = window
        self._follow_links = follow_links

    def paths(self) -> list[Path]:
        """Where each row's file lies."""
        return [self.root / name for name in self.samples["id"].tolist()]

    def may_read(self, path: Path) -> bool:
        """Whether a file may be read: it lies below the root, or the user follows links out."""
        return self._follow_links or not leads_out(self.root, path)

    def read(self, row: int) -> bytes:
        """The bytes of a row's file; raises ImageError where they cannot be had."""
        return read_file(self.root, self.samples["id"].iloc[row], self._follow_links)

    def image(self, row: int) -> SourceImage:
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


def check_names(names: Iterable[str]) -> None:
    """Raise SourceError for a name that is no text: ids are text, and stores hold UTF-8."""
    for name in names:
        if name.encode("utf-8", "replace").decode() != name:
            raise SourceError(f"{name!r} is no file name in UTF-8: rename it")


def told_passed_over(names: Sequence[str]) -> list[str]:
    """The line that tells of files which are not taken for images; none where all are."""
    if not names:
        return []
    first = names[0].encode("utf-8", "backslashreplace").decode()
    files = "1 file was" if len(names) == 1 else f"{len(names)} files were"
    return [f"{files} passed over (first: {first})"]


def read_file(root: Path, name: str, follow_links: bool = False) -> bytes:
    """The bytes of a regular file below ``root``; raises ImageError.

    Names and links come from outside: none may lead elsewhere, unless the user says so, and none
    may make us wait (a FIFO) or read without end (a device).
    """
    try:
        path = Path(os.path.realpath(root / name))
        if not follow_links and not path.is_relative_to(root):
            raise ImageError(
                "is a link out of the image folder: give --follow-links to follow such links, or "
                "copy the file there"
            )
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a device may do something
            raise ImageError("is no regular file")
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ImageError("is no regular file")
            if found.st_size > _LARGEST_FILE:
                raise ImageError(f"is too large: {found.st_size / 1e9:.1f} GB")
            return file.read()
    except FileNotFoundError:
        raise ImageError(_what_is_missing(root, name)) from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ImageError("cannot be read: no file can have such a name") from None


def _what_is_missing(root: Path, name: str) -> str:
    """Why a file is not there, and what was probably meant."""
    if (root / name).is_symlink():
        return (
            "is a link to a file that is not there: fetch it (dvc pull, git annex get, or download "
            "it again)"
        )
    meant = did_you_mean(root, name)
    return "cannot be read: No such file or directory" + (f"; {meant}" if meant else "")


def leads_out(root: Path, path: Path) -> bool:
    """Whether a path below a resolved root is a link out of it."""
    return not Path(os.path.realpath(path)).is_relative_to(root)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


_INTEGER = re.compile("-?[0-9]{1,18}")  # what int() takes in no time


def class_index(names: pd.Series) -> tuple[tuple[str, ...], pd.Series]:
    """Class names in order (by value where all are integers), and each sample's index."""
    unique = sorted(names.unique())
    if all(_INTEGER.fullmatch(name) for name in unique):
        unique = sorted(unique, key=int)
    index = {name: label for label, name in enumerate(unique)}
    return tuple(unique), names.map(index).astype("int64")


_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_name(text: str) -> str | None:
    """The split that a word names ("valid", "Training", …), or None."""
    return _SPLIT_NAMES.get(text.strip().lower())


def draw_splits(samples: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Draw train, val and test (70, 10, 20 %) within each class, keeping groups whole.

    A group goes where its first sample's class sends it. Each class of at least three groups has
    one in every split. Same table and seed, same split.
    """
    groups = samples["group"].where(samples["group"] != "", samples["id"])
    generator = np.random.default_rng(seed)
    chosen: dict[str, str] = {}
    labels = samples.groupby(groups, sort=True)["label"].first()
    for label in sorted(labels.unique()):
        members = generator.permutation(labels.index[labels == label].to_numpy(dtype=object))
        val = max(1, round(0.1 * len(members)))
        test = max(1, round(0.2 * len(members)))
        train = max(1, len(members) - val - test)
        for place, group in enumerate(members):
            chosen[group] = SPLITS[0 if place < train else 1 if place < train + val else 2]
    return groups.map(chosen)
