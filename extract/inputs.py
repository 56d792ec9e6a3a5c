"""Images to predict: files, folders, manifests and every other source, whether labelled or not."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.extract import hdf5_source
from samcache.extract.colour import Window
from samcache.extract.decode import decode_image
from samcache.extract.file_sources import (
    SourceOptions,
    below_root,
    names_below,
    numbered,
    read_table,
)
from samcache.extract.image_files import images_and_others
from samcache.extract.medmnist_source import PREFIX
from samcache.extract.open_source import missing, open_source
from samcache.extract.pseudonyms import hashed_ids
from samcache.extract.sources import FileSource, Source, SourceImage, check_names, read_file

_CLASSES = ("",)  # of images that nobody has labelled
_MANIFESTS = (".csv", ".parquet")


@dataclass(frozen=True)
class Inputs:
    """Images of one source, and the table of samples under which their features are kept."""

    source: Source
    samples: pd.DataFrame


class GivenFiles(Source):
    """Files that a user names one by one, wherever they lie; an id is the path as it was given."""

    def __init__(self, paths: Sequence[Path], window: Window | None) -> None:
        super().__init__("files", _CLASSES, _unlabelled([str(path) for path in paths]), "source")
        self._paths, self._window = list(paths), window

    def image(self, row: int) -> SourceImage:
        path = Path(os.path.realpath(self._paths[row]))  # who names a link means its target
        data = read_file(path.parent, path.name)
        return SourceImage(
            hashlib.sha256(data).hexdigest(), partial(decode_image, data, self._window)
        )

    def take(self, rows: list[int]) -> "GivenFiles":
        return GivenFiles([self._paths[row] for row in rows], self._window)


def open_inputs(names: Sequence[str], reading: SourceOptions, hash_ids: bool) -> list[Inputs]:
    """Open what a user gives to be predicted, in order; raises SourceError.

    A folder stands for every image below it, a manifest for its column ``file``; labels are not
    read. Ids are those of ``extract`` where there is one INPUT, and begin with their INPUT where
    there are several. Single files come before all others.
    """
    files = [name for name in names if _is_one_image(name)]
    others = [name for name in names if name not in files]
    sources: list[tuple[str, Source]] = []
    if files:
        paths = [Path(name) for name in dict.fromkeys(files)]
        sources.append(("", GivenFiles(paths, reading.window)))
    for name in dict.fromkeys(others):
        prefix = f"{name.rstrip('/')}/" if len(others) > 1 or files else ""
        sources.append((prefix, _open(name, reading)))
    found = []
    for prefix, source in sources:
        samples = source.samples.assign(id=prefix + source.samples["id"])
        found.append(Inputs(source, hashed_ids(samples) if hash_ids else samples))
    return found


def _open(name: str, reading: SourceOptions) -> Source:
    path = Path(name)
    if not name.startswith(PREFIX) and path.suffix.lower() in _MANIFESTS:
        return _open_manifest(path, reading)
    if path.is_dir() and not any(_is_hdf5(file) for file in path.iterdir()):
        return _open_folder(path.resolve(), reading)
    return open_source(path, reading)


def _open_folder(path: Path, reading: SourceOptions) -> FileSource:
    images, others = images_and_others(path)
    names, passed_over = names_below(path, images), tuple(names_below(path, others))
    samples = _unlabelled(names)
    return FileSource(path.name, path, _CLASSES, samples, "source", reading.window, passed_over)


def _open_manifest(path: Path, reading: SourceOptions) -> FileSource:
    if not path.is_file():
        raise missing(path)
    table = read_table(path)
    if "file" not in table:
        raise SourceError(f"{path} should have a column 'file', found {', '.join(table.columns)}")
    root = (reading.root or path.parent).resolve()
    names = [below_root(path, line, text) for line, text in numbered(table["file"])]
    return FileSource(path.stem, root, _CLASSES, _unlabelled(names), window=reading.window)


def _unlabelled(names: list[str]) -> pd.DataFrame:
    """The table of images whose labels do not matter; raises SourceError for names not in UTF-8."""
    check_names(names)
    return pd.DataFrame({"id": names, "label": 0, "split": "test", "group": ""})


def _is_one_image(name: str) -> bool:
    """Whether a name is a file that no kind of source reads, so that it should be an image."""
    path = Path(name)
    several = (*_MANIFESTS, ".npz", *hdf5_source.SUFFIXES)
    return path.is_file() and path.suffix.lower() not in several


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in hdf5_source.SUFFIXES
