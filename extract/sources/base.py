"""Where images come from: a sample table and a way to load each image of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from samcache.cache.errors import SourceError
from samcache.cache.format.description import Dataset
from samcache.cache.format.pixel_options import PixelOptions
from samcache.cache.progress import Remark


@dataclass(frozen=True)
class SourceImage:
    """One image as its source has it: the SHA-256 (hex) of its bytes, and how to decode them.

    ``decode`` returns a Pillow image in RGB and raises ImageError if the bytes are not a readable
    image. ``several`` says whether the file has further frames that are not used.
    """

    sha256: str
    decode: Callable[[], Image.Image]
    several: Callable[[], bool] = bool  # which is False


class Source(ABC):
    """A named, ordered set of images, with a class each or without labels.

    ``samples`` has the columns id (unique text), label (index into ``classes``; NO_LABEL where
    there are none), split ("train", "val" or "test"), group (text, "" where unknown), and KEPT +
    name (text) for each column that is kept of a manifest. ``split_origin`` is "source", or DRAWN
    and how it was drawn. ``passed_over`` names files that are not images, ``remarks`` are what a
    user should read before the samples are stored as they are.
    ``pixel_options`` are the options of reading that decide which pixels these samples have.
    """

    passed_over: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    pixel_options = PixelOptions()

    def __init__(
        self, name: str, classes: tuple[str, ...], samples: pd.DataFrame, split_origin: str
    ) -> None:
        self.name = name
        self.classes = classes
        self.samples = samples.reset_index(drop=True)
        self.split_origin = split_origin
        self._check()

    @property
    def dataset(self) -> Dataset:
        """What a store records of the source."""
        return Dataset(self.name, self.classes, self.split_origin)

    @abstractmethod
    def read_image(self, row: int) -> SourceImage:
        """Read one image's bytes by its row; raises ImageError where they cannot be read."""

    @abstractmethod
    def take(self, rows: list[int]) -> "Source":
        """Return a source with only some of the rows."""

    def limit(self, count: int) -> "Source":
        """Return a source of ``count`` images: one of each class in each split, then spread."""
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


def check_names(names: Iterable[str]) -> None:
    """Raise SourceError for a name that is not UTF-8, which stores cannot hold."""
    for name in names:
        if name.encode("utf-8", "replace").decode() != name:
            raise SourceError(f"{name!r} is not a file name in UTF-8: rename the file")
