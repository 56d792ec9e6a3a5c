"""An open store for other programs: its samples, its arrays, and datasets of it. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import StoreError, UnknownNameError
from samcache.cache.format.layout import IMAGES, make_feature_path
from samcache.cache.format.samples import NO_LABEL
from samcache.cache.labels.classes import list_used_classes
from samcache.cache.rows import RowReader
from samcache.cache.store import Store as StoredFeatures
from samcache.cache.text import count_nouns, describe_bytes

if TYPE_CHECKING:
    from samcache.api.dataset import FeatureDataset

Array = npt.NDArray[Any]

_IDENTITY = "identity"  # the view that every store has


def open_store(location: str | Path) -> Store:
    """Open a store in a folder or at a URL (s3://, gs://, az://, https://); raises SamcacheError.

    Only small records are read. The store is read as it was when it was opened.
    """
    return Store(StoredFeatures(location))


class Store:
    """A store of cached features."""

    def __init__(self, features: StoredFeatures) -> None:
        self._features = features

    @property
    def location(self) -> str:
        """The folder or URL."""
        return self._features.location

    @property
    def encoder(self) -> str:
        """The name of the encoder that made the features, such as "vit_b"."""
        return self._features.identity.encoder

    @property
    def fingerprint(self) -> str:
        """The hash of everything that changes a feature's value."""
        return self._features.fingerprint

    @property
    def levels(self) -> dict[str, tuple[int, int, int]]:
        """Level -> (C, h, w) of its maps."""
        return dict(self._features.layout.level_shapes)

    @property
    def image_size(self) -> int | None:
        """The side of the cached images; None if the store holds no images."""
        return self._features.identity.frame_size or None

    @property
    def views(self) -> tuple[str, ...]:
        """The views whose maps the store holds; the first is "identity"."""
        return self._features.identity.views

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that have samples."""
        return list_used_classes(self._features.table, self._features.dataset.classes)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One line a sample: id, label, split, group, row, status, reason, sha256.

        label indexes ``classes``, and is -1 in a store without labels; row is the sample's place on
        the first axis of the Zarr arrays; status is "ok", "unreadable" (then reason says why) or
        "missing" (not extracted yet). "kept_NAME" is the manifest's column NAME, if it was kept.
        """
        samples, classes = self._features.samples.reset_index(drop=True), self.classes
        names = self._features.dataset.classes
        numbers = [classes.index(name) if name in classes else -1 for name in names]
        labels = np.array([*numbers, NO_LABEL], np.int64)[samples["label"].to_numpy()]
        return samples.assign(label=labels)

    @property
    def splits(self) -> dict[str, int]:
        """Split -> its number of samples."""
        counts = self.samples["split"].value_counts(sort=False)
        return {str(split): int(count) for split, count in counts.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        commits = self._features.commits.values()
        return sum(record.bytes for commit in commits for record in commit.objects.values())

    def arrays(self, level: str, view: str = _IDENTITY) -> FeatureArray:
        """A level's maps (n, C, h, w), or the images (n, F, F, 3) for level "images", unread.

        Place i belongs to line i of ``samples``. Raises KeyError for a level or view that the store
        does not hold.
        """
        return FeatureArray(self._features, self.samples, level, view)

    def dataset(
        self,
        split: str | None,
        levels: Sequence[str] = ("neck",),
        images: bool = True,
        standardize: bool = True,
        views: Sequence[str] = (_IDENTITY,),
    ) -> FeatureDataset:
        """A split's readable samples as a map-style torch Dataset; None means all splits.

        See ``FeatureDataset`` for the items and arguments. Raises KeyError for a split, level or
        view that the store does not hold.
        """
        from samcache.api.dataset import FeatureDataset

        return FeatureDataset(self, split, levels, images, standardize, views)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        images, classes = count_nouns(len(self), "image"), count_nouns(len(self.classes), "class")
        lines = [f"Store({self.location!r}): {images}, {classes}, encoder {self.encoder}"]
        lines += [f"  {level:8}{self._describe_level(level)}" for level in self.levels]
        if self.image_size:
            lines.append(f"  {IMAGES:8}{self._describe_level(IMAGES)}")
        if len(self.views) > 1:
            lines.append(f"  {'views':8}{', '.join(self.views)}")
        splits = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        lines += [f"  {'splits':8}{splits}", f"  {'size':8}{describe_bytes(self.nbytes)}"]
        return "\n".join(lines)

    def _describe_level(self, level: str) -> str:
        array = self.arrays(level)
        return f"{' x '.join(map(str, array.shape[1:]))} {array.dtype}"


class FeatureArray:
    """Values of every sample of a store, read when they are indexed; every checksum is checked.

    Indexing is NumPy's on the first axis (integers, slices, masks, lists of integers), followed by
    integers and slices on the other axes. Samples without features raise StoreError when they are
    read: choose those whose ``status`` is "ok". ``np.asarray`` reads everything.
    """

    def __init__(
        self, features: StoredFeatures, samples: pd.DataFrame, level: str, view: str
    ) -> None:
        path = find_array_path(features, level)
        check_views(features, [view])
        self.level = level
        self._samples = samples
        self._view = None if path == IMAGES else features.identity.views.index(view)
        spec = features.arrays[path]
        self._features, self._path = features, path
        self.dtype = np.dtype(spec.dtype)
        self.shape = (len(samples), *(spec.row if self._view is None else spec.row[1:]))

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self._features, [self._path])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Array:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        if not all(isinstance(each, int | np.integer | slice) or each is Ellipsis for each in rest):
            raise IndexError("only the first axis takes lists and masks: read, then index the copy")
        places = np.arange(len(self))[first]
        values = self._read(places.reshape(-1)).reshape(*places.shape, *self.shape[1:])
        return values[(*[slice(None)] * places.ndim, *rest)]

    def _read(self, places: npt.NDArray[np.int64]) -> Array:
        chosen = self._samples.iloc[places]
        check_readable(chosen)
        values = self._reader.read(chosen["row"].to_numpy())[self._path]
        return values if self._view is None else values[:, self._view]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("the values are read from the store: copy=False cannot be kept")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"FeatureArray({self.level!r}, shape={self.shape}, dtype={self.dtype})"


def find_array_path(features: StoredFeatures, level: str) -> str:
    """The path of a level's array, or of the images; raises KeyError if the store has neither."""
    path = level if level == IMAGES else make_feature_path(level)
    if path not in features.arrays:
        there = [*features.identity.levels, *([IMAGES] if IMAGES in features.arrays else [])]
        raise make_unknown_name_error("level", level, there)
    return path


def check_views(features: StoredFeatures, views: Iterable[str]) -> None:
    """Raise KeyError for a view that the store does not hold."""
    for view in views:
        if view not in features.identity.views:
            raise make_unknown_name_error("view", view, features.identity.views)


def check_readable(samples: pd.DataFrame) -> None:
    """Raise StoreError, naming the first, if some samples have no features."""
    absent = samples[samples["status"] != "ok"]
    if len(absent):
        name, status, reason = absent[["id", "status", "reason"]].iloc[0]
        why = f"{status}: {reason}" if reason else status
        raise StoreError(f"{name} has no features ({why}): read only samples whose status is 'ok'")


def make_unknown_name_error(kind: str, name: str, there: Iterable[str]) -> UnknownNameError:
    """The KeyError for a name that a store does not hold, to be raised."""
    return UnknownNameError(f"the store has no {kind} {name!r}: it has {', '.join(there)}")
