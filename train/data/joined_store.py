"""Several stores of the same images, read as one store that has the levels of all."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import ConfigError
from samcache.cache.format.layout import ArraySpec, Layout, make_feature_path
from samcache.cache.format.samples import COLUMNS
from samcache.cache.format.statistics import Moments
from samcache.cache.objects.location import is_remote
from samcache.cache.rows import RowReader
from samcache.cache.store import Store
from samcache.cache.text import count_nouns

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_SUFFIX = ".zarr"


def name_stores(locations: Sequence[str | Path]) -> tuple[str, ...]:
    """The names of stores: the last part of each place without .zarr; raises ConfigError.

    Other characters than letters, digits, "_" and "-" become "-": names are parts of options.
    """
    names: dict[str, str | Path] = {}
    for location in locations:
        name = re.sub(r"[^\w-]+", "-", _find_last_part(location).removesuffix(_SUFFIX))
        if name in names:
            raise ConfigError(
                f"{names[name]} and {location} are both named {name!r}, and levels are named "
                "NAME/LEVEL: give each store once, or give a link or a copy with another name"
            )
        names[name] = location
    return tuple(names)


def _find_last_part(location: str | Path) -> str:
    if not is_remote(location):
        return Path(location).resolve().name
    url = urlsplit(str(location))
    return PurePosixPath(url.path).name or url.netloc


class JoinedStore(Store):
    """The first of several stores, with the levels of all: "A/neck" is level neck of store A.

    Samples, labels, splits and cached images are the first store's, without the samples that
    another store lacks. Rows are the first store's rows too.
    """

    def __init__(self, names: Sequence[str], parts: Sequence[Store]) -> None:
        """names: of the parts, one each; raises ConfigError where no image is in all parts."""
        first = parts[0]
        super().__init__(first.location, first.objects, first.description)
        self.names, self._parts = tuple(names), tuple(parts)
        levels = [
            f"{name}/{level}"
            for name, part in zip(names, parts, strict=True)
            for level in part.identity.levels
        ]
        self.identity = replace(first.identity, levels=tuple(levels))
        each = [[name, part.fingerprint] for name, part in zip(names, parts, strict=True)]
        self.fingerprint = hashlib.sha256(json.dumps(each).encode()).hexdigest()
        self._places = [_match(first.samples, part.samples) for part in parts]
        self._readers: dict[tuple[Store, str], RowReader] = {}
        if not self._kept.any():
            raise ConfigError(
                f"no image is in both {first.location} and "
                f"{' and '.join(part.location for part in parts[1:])}: samples are the same where "
                "their ids and source files are, or their source files alone; extract the stores "
                "from the same source"
            )

    @property
    def parts(self) -> tuple[Store, ...]:
        """The stores, the first first."""
        return self._parts

    def find_level(self, level: str) -> tuple[Store, str]:
        """The store that holds a level such as "A/neck", and the level's name there."""
        name, _, own = level.partition("/")
        return self.parts[self.names.index(name)], own

    @property
    def _kept(self) -> npt.NDArray[np.bool_]:
        """Which samples of the first store are in all, (n,)."""
        kept: npt.NDArray[np.bool_] = np.all(np.stack(self._places) >= 0, axis=0)
        return kept

    @cached_property
    def layout(self) -> Layout:
        """The first store's extents, with the levels of all."""
        found = {level: self.find_level(level) for level in self.identity.levels}
        shapes = {level: part.layout.level_shapes[own] for level, (part, own) in found.items()}
        return replace(self.parts[0].layout, level_shapes=shapes)

    @cached_property
    def arrays(self) -> dict[str, ArraySpec]:
        """The arrays of the first store."""
        return self.parts[0].arrays

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns of the sample table, for samples that are in all stores."""
        return self.samples[[*COLUMNS, "row"]]

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The first store's samples that are in all stores; "ok" where all have features."""
        kept = self._kept
        samples = self.parts[0].samples[kept].reset_index(drop=True)
        for part, places in zip(self.parts[1:], self._places[1:], strict=True):
            other = part.samples.iloc[places[kept]].reset_index(drop=True)
            lacking = (samples["status"] == "ok") & (other["status"] != "ok")
            samples.loc[lacking, ["status", "reason"]] = other.loc[lacking, ["status", "reason"]]
        return samples

    @cached_property
    def rows_of_parts(self) -> tuple[Ints, ...]:
        """Each store's row for every row of the first store's arrays, -1 where it has none."""
        kept, rows = self._kept, []
        for part, places in zip(self.parts, self._places, strict=True):
            own = np.full(self.layout.rows, -1)
            own[self.table["row"]] = part.samples["row"].to_numpy()[places[kept]]
            rows.append(own)
        return tuple(rows)

    def describe_join(self) -> str:
        """How many images are in all stores, and how many of each store are left out."""
        shared = len(self.samples)
        left = {
            name: len(part.samples) - shared
            for name, part in zip(self.names, self.parts, strict=True)
        }
        told = ", ".join(f"{count} of {name}" for name, count in left.items() if count)
        line = f"{count_nouns(shared, 'image')} in all of {', '.join(self.names)}"
        return f"{line}; left out: {told}" if told else line

    def check_agreement(self, labels: bool, splits: bool) -> None:
        """Raise ConfigError where stores disagree on labels or splits, as far as those count.

        A store without labels agrees with every other.
        """
        kept, first = self._kept, self.parts[0]
        own = _read_answers(first)[kept]
        for name, part, places in zip(self.names, self.parts, self._places, strict=True):
            other = _read_answers(part).iloc[places[kept]]
            labelled = labels and bool(first.dataset.classes and part.dataset.classes)
            for column, counts in (("label", labelled), ("split", splits)):
                here, there = own[column].to_numpy(), other[column].to_numpy()
                differing = np.flatnonzero(here != there) if counts else np.empty(0, np.int64)
                if len(differing):
                    place = differing[0]
                    raise ConfigError(
                        f"{self.names[0]} and {name} disagree on the {column} of "
                        f"{count_nouns(len(differing), 'image')}, such as {own['id'].iloc[place]}: "
                        f"{here[place]!r} and {there[place]!r}; take each {column} from a table",
                        hint="labels" if column == "label" else "splits",
                    )

    def read_features(self, level: str, start: int, stop: int) -> Array:
        """Maps of one level for rows of the first store, (n, V, C, h, w); zeros without data."""
        part, own = self.find_level(level)
        if part is self.parts[0]:
            return part.read_features(own, start, stop)
        rows = self._find_rows(part)[start:stop]
        there = rows >= 0
        found = self._read_rows(part, own, rows[there])
        if len(found) == len(rows):
            return found
        maps = np.zeros((len(rows), *found.shape[1:]), found.dtype)
        maps[there] = found
        return maps

    def _read_rows(self, part: Store, level: str, rows: Ints) -> Array:
        """Some rows (n,) of a store's level, in their order.

        A shard at a time over a network, where each row would be a request, if the server has them.
        """
        path = make_feature_path(level)
        if not part.remote:
            key = part, level
            if key not in self._readers:
                self._readers[key] = RowReader(part, [path])
            return self._readers[key].read(rows)[path]
        spec = part.arrays[path]
        maps = np.zeros((len(rows), *spec.row), spec.dtype)
        shards = rows // part.rows_per_shard
        for shard in np.unique(shards):
            first, stop = part.layout.find_rows(int(shard))
            own = shards == shard
            maps[own] = part.read_features(level, first, stop)[rows[own] - first]
        return maps

    def read_moments(self, rows: Ints | None = None) -> dict[str, Moments]:
        """Each level's moments over some rows of the first store, as ``Store.read_moments``."""
        if rows is None:
            table = self.samples
            rows = table["row"][(table["status"] == "ok") & (table["split"] == "train")].to_numpy()
        return {
            f"{name}/{level}": moments
            for name, part in zip(self.names, self.parts, strict=True)
            for level, moments in part.read_moments(self._find_rows(part)[rows]).items()
        }

    def _find_rows(self, part: Store) -> Ints:
        return self.rows_of_parts[self.parts.index(part)]


def _match(first: pd.DataFrame, other: pd.DataFrame) -> Ints:
    """Where each of n samples is among another store's, (n,) int64; -1 where it is not.

    By id, where the source's hash agrees or is unknown; the others by a hash that occurs once.
    """
    sums, others = first["sha256"].to_numpy(dtype=object), other["sha256"].to_numpy(dtype=object)
    found = pd.Index(other["id"]).get_indexer(pd.Index(first["id"]))
    places: Ints = found.astype(np.int64)
    there = others[places]
    places[(sums != there) & (sums != "") & (there != "")] = -1
    left, free = places < 0, np.ones(len(other), np.bool_)
    free[places[places >= 0]] = False
    ours = pd.Series(np.flatnonzero(left), index=sums[left])
    theirs = pd.Series(np.flatnonzero(free), index=others[free])
    ours, theirs = (one[~one.index.duplicated(keep=False)] for one in (ours, theirs))
    known = ours.index.intersection(theirs.index).drop("", errors="ignore")
    places[ours[known].to_numpy()] = theirs[known].to_numpy()
    return places


def _read_answers(store: Store) -> pd.DataFrame:
    """The id, label by its name, and split of every sample."""
    samples = store.samples
    if not store.dataset.classes:
        return samples[["id", "label", "split"]]
    names = np.array(store.dataset.classes, dtype=object)[samples["label"].to_numpy()]
    return samples[["id", "split"]].assign(label=names)
