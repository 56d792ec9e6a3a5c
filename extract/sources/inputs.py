"""Images to predict: files, folders, manifests and every other source, whether labelled or not."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from samcache.cache.files.text_table import number_lines, read_table
from samcache.cache.format.samples import NO_LABEL
from samcache.extract.images.colour import Window
from samcache.extract.sources.base import Source, check_names
from samcache.extract.sources.files.file_source import FileSource, read_file
from samcache.extract.sources.files.frames import choose_frames
from samcache.extract.sources.files.listing import list_images
from samcache.extract.sources.files.manifest_table import (
    describe_missing_column,
    refuse_spreadsheet,
)
from samcache.extract.sources.files.open_files import check_below_root, list_names_below
from samcache.extract.sources.open import (
    describe_missing,
    find_source_kind,
    open_source,
    refuse_store_and_run,
)
from samcache.extract.sources.options import SourceOptions
from samcache.extract.sources.pseudonyms import hash_ids_in


@dataclass(frozen=True)
class Inputs:
    """Images of one source, and the table of samples under which their features are kept."""

    source: Source
    samples: pd.DataFrame


class GivenFiles(FileSource):
    """Files that a user names one by one, wherever they lie; an id is the path as it was given."""

    def __init__(self, paths: Sequence[Path], window: Window | None) -> None:
        table = _make_unlabelled_table([str(path) for path in paths])
        super().__init__("files", Path.cwd(), (), table, window=window)

    def may_read(self, path: Path) -> bool:  # noqa: ARG002
        return True  # who names a link means its target

    def read(self, row: int) -> bytes:
        path = Path(os.path.realpath(self.samples["id"].iloc[row]))
        return read_file(path.parent, path.name)


def open_inputs(names: Sequence[str], reading: SourceOptions, hash_ids: bool) -> list[Inputs]:
    """Open what a user gives to be predicted, in order; raises SourceError.

    A folder stands for every image below it, a manifest for its column ``file``; labels are not
    read. Ids are those of ``extract`` where there is one INPUT, and begin with their INPUT where
    there are several. Single files come before all others.
    """
    files = [name for name in names if _is_one_image(name)]
    others = [name for name in names if name not in files]
    which = reading.frames or "first"
    sources: list[tuple[str, Source]] = []
    if files:
        paths = [Path(name) for name in dict.fromkeys(files)]
        sources.append(("", choose_frames(GivenFiles(paths, reading.window), which)))
    for name in dict.fromkeys(others):
        prefix = f"{name.rstrip('/')}/" if len(others) > 1 or files else ""
        sources.append((prefix, _open(name, reading)))
    found = []
    for prefix, source in sources:
        samples = source.samples.assign(id=prefix + source.samples["id"])
        found.append(Inputs(source, hash_ids_in(samples) if hash_ids else samples))
    return found


def _open(name: str, reading: SourceOptions) -> Source:
    path, which = Path(name), reading.frames or "first"
    refuse_store_and_run(path)
    match find_source_kind(path):
        case "manifest":
            return choose_frames(_open_manifest(path, reading), which)
        case "folder":
            return choose_frames(_open_folder(path.resolve(), reading), which)
    return open_source(path, reading)


def _open_folder(path: Path, reading: SourceOptions) -> FileSource:
    images, others = list_images(path)
    source = _open_files(path.name, path, list_names_below(path, images), reading)
    source.passed_over = tuple(list_names_below(path, others))
    return source


def _open_manifest(path: Path, reading: SourceOptions) -> FileSource:
    if not path.is_file():
        raise describe_missing(path)
    table = read_table(path)
    if "file" not in table:
        raise describe_missing_column(path, "file", table.columns, False)
    root = (reading.root or path.parent).resolve()
    names = [check_below_root(path, line, text) for line, text in number_lines(table["file"])]
    return _open_files(path.stem, root, names, reading)


def _open_files(name: str, root: Path, names: list[str], reading: SourceOptions) -> FileSource:
    window, follow = reading.window, reading.follow_links
    return FileSource(name, root, (), _make_unlabelled_table(names), "source", window, follow)


def _make_unlabelled_table(names: list[str]) -> pd.DataFrame:
    """The table of images whose labels do not matter; raises SourceError for names not in UTF-8."""
    check_names(names)
    return pd.DataFrame({"id": names, "label": NO_LABEL, "split": "test", "group": ""})


def _is_one_image(name: str) -> bool:
    """Whether a name is a file that no kind of source reads, so that it should be an image."""
    path = Path(name)
    refuse_spreadsheet(path)
    return path.is_file() and find_source_kind(path) == "file"
