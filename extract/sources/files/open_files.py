"""Images in files: a CSV manifest, or a folder of images, which may lie in class folders."""

import re
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.files.text_table import number_lines, read_table
from samcache.cache.format.samples import KEPT, NO_LABEL, is_column_name
from samcache.cache.labels.classes import index_classes
from samcache.cache.labels.split_names import find_split
from samcache.cache.progress import Remark
from samcache.cache.text import count_nouns
from samcache.extract.images.dicom import frames as dicom
from samcache.extract.sources.base import check_names
from samcache.extract.sources.files.file_source import FileSource, is_link_out
from samcache.extract.sources.files.image_root import describe_wrong_root
from samcache.extract.sources.files.listing import (
    is_image,
    is_meant_as_dicom,
    list_images,
    list_loose_files,
    list_subfolders,
)
from samcache.extract.sources.files.manifest_table import choose_label, describe_missing_column
from samcache.extract.sources.files.nested_splits import describe_nested_splits
from samcache.extract.sources.options import NO_GROUPS, SourceOptions
from samcache.extract.sources.splits import describe_draw, draw_splits

_GROUP = re.compile("(group|patient|subject|lesion)[ _-]?(id)?", re.IGNORECASE)


def open_manifest(path: Path, reading: SourceOptions) -> FileSource:
    """Read a CSV or Parquet manifest: columns file, and optionally class (or label) and split.

    Files are paths below the root; they are not opened here. Without a split column one is drawn
    by ``draw_splits``. Raises SourceError naming the line and what it should hold.
    """
    table = read_table(path)
    label = choose_label(path, table.columns, reading)
    group = None if reading.group == NO_GROUPS else reading.group
    filled = ["file", *([label] if label else [])]
    for name in filled + ([group] if group else []) + list(reading.keep_columns):
        if name not in table:
            raise describe_missing_column(path, name, table.columns, name == label)
    table = table.apply(lambda column: column.str.strip())
    for name in filled + (["split"] if "split" in table else []):
        empty = table.index[table[name] == ""]
        if len(empty):
            raise SourceError(f"{path}, line {empty[0]}: column {name!r} is empty")
    root = (reading.root or path.parent).resolve()
    if not root.is_dir():
        there = next(above for above in root.parents if above.is_dir())
        raise SourceError(
            f"image root {root} is not a folder: give the right one; the nearest folder that "
            f"exists is {there}",
            hint="root",
        )
    classes, labels = index_classes(table[label]) if label else ((), NO_LABEL)
    samples = pd.DataFrame(
        {
            "id": [
                check_below_root(path, line, text) for line, text in number_lines(table["file"])
            ],
            "label": labels,
            "group": table[group] if group else "",
        },
        index=table.index,
    )
    for name in reading.keep_columns:
        if not is_column_name(name):
            raise SourceError(
                f"{path}: column {name!r} cannot be kept: rename it to a short name without '/'",
                hint="keep_columns",
            )
        samples[f"{KEPT}{name}"] = table[name]
    if not reading.group:
        samples["group"] = _hash_patients(root, samples["id"], reading.follow_links)
    if "split" in table:
        samples["split"] = [
            _check_split(path, line, text) for line, text in number_lines(table["split"])
        ]
    source = _make_source(path.stem, root, classes, samples, reading)
    source.remarks = describe_wrong_root(root, samples["id"].tolist())
    if reading.group != NO_GROUPS:
        source.remarks += _describe_unused_groups(table.drop(columns=label or []), samples)
    return source


def open_folder(path: Path, reading: SourceOptions) -> FileSource:
    """Read a folder of class folders, with or without train, val and test folders above them.

    Where there are no class folders, or with ``no_labels``, images are read at any depth, without
    labels: those of split folders have their split. Raises SourceError for a class or split folder
    without images, for a folder that cannot be read, and for other folders beside split folders.
    """
    folders = list_subfolders(path)
    _refuse_others_beside_splits(path, folders)
    splits = folders if all(find_split(folder.name) for folder in folders) else []
    if reading.no_labels or not _has_class_folders(path, folders, splits):
        return _open_unlabelled(path, splits, reading)
    classes = [below for folder in splits for below in _list_class_folders(folder)] or folders
    rows, others = [], [file for folder in (path, *splits) for file in list_loose_files(folder)]
    for folder in classes:
        images, rest = list_images(folder)
        if not images:
            raise SourceError(
                f"class folder {folder} holds no images among its "
                f"{count_nouns(len(rest), 'file')}: remove it or "
                "fill it"
            )
        split = str(find_split(folder.parent.name))
        rows += [(name, folder.name, split) for name in list_names_below(path, images)]
        others += rest
    check_names(name for name, _, _ in rows)
    samples = pd.DataFrame(rows, columns=["id", "class", "split"])
    names, samples["label"] = index_classes(samples.pop("class"))
    source = _make_folder_source(path, names, samples, others, bool(splits), reading)
    source.remarks = () if splits else describe_nested_splits(classes)
    return source


def _has_class_folders(path: Path, folders: list[Path], splits: list[Path]) -> bool:
    """Whether a folder's images have classes by their folders.

    They have none where images lie directly in the folder, or in each of its split folders, and no
    folder below it holds any.
    """
    above = splits or [path]
    if not all(any(map(is_image, list_loose_files(folder))) for folder in above):
        return bool(folders)
    below = chain.from_iterable(map(list_subfolders, splits)) if splits else folders
    return any(list_images(folder)[0] for folder in below)


def _open_unlabelled(path: Path, splits: list[Path], reading: SourceOptions) -> FileSource:
    """Every image below a folder, or below its split folders, with their split."""
    rows, others = [], list_loose_files(path) if splits else []
    for folder in splits or [path]:
        images, rest = list_images(folder)
        split = str(find_split(folder.name))
        rows += [(name, split) for name in list_names_below(path, images) if "/." not in f"/{name}"]
        others += rest
    check_names(name for name, _ in rows)
    samples = pd.DataFrame(rows, columns=["id", "split"]).assign(label=NO_LABEL)
    return _make_folder_source(path, (), samples, others, bool(splits), reading)


def _make_folder_source(
    path: Path,
    classes: tuple[str, ...],
    samples: pd.DataFrame,
    others: list[Path],
    has_splits: bool,
    reading: SourceOptions,
) -> FileSource:
    """The source of a folder's images; others: files that are no images."""
    ungrouped = reading.group == NO_GROUPS
    samples["group"] = (
        "" if ungrouped else _hash_patients(path, samples["id"], reading.follow_links)
    )
    if not has_splits:
        del samples["split"]
    source = _make_source(path.name, path, classes, samples, reading)
    source.passed_over = tuple(list_names_below(path, others))
    return source


def check_below_root(manifest: Path, line: int, text: str) -> str:
    """A file's path below the root, with forward slashes; refuses anything that leaves the root."""
    path = PurePosixPath(text.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(text).drive:
        raise SourceError(
            f"{manifest}, line {line}: {text!r} should be a path below the root folder; give the "
            "folder that the names start from",
            hint="root",
        )
    return str(path)


def _check_split(manifest: Path, line: int, text: str) -> str:
    split = find_split(text)
    if split is None:
        raise SourceError(f"{manifest}, line {line}: split should be train, val or test: {text!r}")
    return split


def _make_source(
    name: str,
    root: Path,
    classes: tuple[str, ...],
    samples: pd.DataFrame,
    reading: SourceOptions,
) -> FileSource:
    """The source of a table of samples, with a drawn split where it has none."""
    origin = "source"
    if "split" not in samples:
        samples["split"] = draw_splits(samples, reading.split_seed)
        origin = describe_draw(reading.split_seed, classes)
    window, follow = reading.window, reading.follow_links
    return FileSource(name, root, classes, samples, origin, window, follow)


def _describe_unused_groups(table: pd.DataFrame, samples: pd.DataFrame) -> tuple[Remark, ...]:
    """A remark on each column of patients or the like, where some samples have no group."""
    if (samples["group"] != "").all():
        return ()
    return tuple(
        Remark(
            f"column {name!r} is not used: as the group column {name!r} keeps the images of one "
            "patient or lesion in one split and fold",
            "group_column",
        )
        for name in table.columns
        if _GROUP.fullmatch(name) and table.loc[table[name] != "", name].duplicated().any()
    )


def _refuse_others_beside_splits(path: Path, folders: list[Path]) -> None:
    """A folder of masks beside train and test would make classes of all three."""
    splits = [folder for folder in folders if find_split(folder.name)]
    others = [folder.name for folder in folders if folder not in splits]
    if others and any(list_subfolders(folder) for folder in splits):
        raise SourceError(
            f"{path}: {', '.join(others)} should not be next to the split folders "
            f"{', '.join(folder.name for folder in splits)}: move them elsewhere, or give a "
            "manifest"
        )


def _list_class_folders(split: Path) -> list[Path]:
    found = list_subfolders(split)
    if not found:
        raise SourceError(f"{split} should hold one folder per class, found none")
    return found


def list_names_below(root: Path, files: list[Path]) -> list[str]:
    """Each file's path below a folder, with forward slashes."""
    return [file.relative_to(root).as_posix() for file in files]


def _hash_patients(root: Path, names: pd.Series, follow_links: bool) -> list[str]:
    """A group for each DICOM file, from its patient; "" for other files, and for links out."""
    paths = [root / name for name in names.tolist()]
    return [
        dicom.hash_patient(path)
        if is_meant_as_dicom(path) and (follow_links or not is_link_out(root, path))
        else ""
        for path in paths
    ]
