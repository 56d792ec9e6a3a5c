"""Class folders that are probably splits: ``train_set`` and ``test_set`` with classes inside."""

import re
from collections.abc import Sequence
from pathlib import Path

from samcache.cache.labels.split_names import find_split
from samcache.cache.progress import Remark
from samcache.cache.text import list_first
from samcache.extract.sources.files.listing import list_subfolders

_PARTS = re.compile("[A-Z]?[a-z]+|[A-Z]+")  # "train_set", "TrainSet" and "01-train" have "train"
_GLUED = re.compile("(train|training|val|valid|validation|dev|test|testing)(set|data|images|imgs)")
_OTHERS = {"eval", "evaluation", "holdout"}  # that no folder of a split is called here


def describe_nested_splits(classes: Sequence[Path]) -> tuple[Remark, ...]:
    """A remark on class folders whose names say splits and which have list_subfolders in common."""
    splits = [folder for folder in classes if _says_split(folder.name)]
    if len(splits) < 2:
        return ()
    inside = [{below.name for below in list_subfolders(folder)} for folder in splits]
    common = sorted(set.intersection(*inside))
    if not common:
        return ()
    names = ", ".join(folder.name for folder in splits)
    return (
        Remark(
            f"{names} are read as classes, although their names look like splits and each holds "
            f"{list_first(common)}: to use them as splits, rename them to train, val and test"
        ),
    )


def _says_split(name: str) -> bool:
    words = [word.lower() for word in _PARTS.findall(name)]
    return any(find_split(word) or word in _OTHERS or _GLUED.fullmatch(word) for word in words)
