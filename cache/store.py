"""A store of cached features: create, open, commit a shard, read what is committed."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr
import zarrs  # noqa: F401  (registers the codec pipeline named below)

from samcache.cache.commits import Commit, commit_key
from samcache.cache.errors import StoreError
from samcache.cache.identity import Identity
from samcache.cache.layout import (
    IMAGES,
    STATISTICS,
    Layout,
    array_at,
    create_arrays,
    feature_path,
    read_layout,
    read_rows,
    row_is_intact,
)
from samcache.cache.objects import ObjectFolder
from samcache.cache.samples import read_samples, write_samples
from samcache.cache.statistics import Moments

zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """What the store was made from."""

    name: str
    classes: tuple[str, ...]  # class names; a sample's label indexes them
    split_origin: str  # "source", or how the split was drawn


@dataclass(frozen=True)
class ShardContent:
    """Everything one shard holds; n rows, V views.

    features: level -> (n, V, C, h, w); images: (n, F, F, 3) uint8, or None where none are cached;
    moments: level -> moments of the shard's training rows; sources and failures as in Commit,
    failures keyed by the row's number in the store. Rows that failed hold zeros.
    """

    features: dict[str, Array]
    images: npt.NDArray[np.uint8] | None
    moments: dict[str, Moments]
    sources: tuple[str, ...]
    failures: dict[int, str]


class Store:
    """An open store. Its commits are those that stood when they were first asked for."""

    def __init__(self, path: Path, mode: str) -> None:
        """Open a store with zarr's mode "r" or "r+"; raises StoreError where it cannot be."""
        self.path = path
        self._root = _open_root(path, mode)
        attributes = self._root.attrs.get("samcache")
        if not isinstance(attributes, dict) or "identity" not in attributes:
            raise StoreError(
                f"{path} is not a finished samcache store: run samcache extract to (re)create it"
            )
        self.identity = Identity.from_json(attributes["identity"])
        self.fingerprint = self.identity.fingerprint()
        if attributes.get("fingerprint") != self.fingerprint:
            raise StoreError(f"{path}: fingerprint and identity disagree: the store is damaged")
        self.dataset = _dataset(attributes)
        self.provenance: dict[str, Any] = attributes.get("provenance", {})
        self.layout = read_layout(self._root, self.identity)
        self._objects = ObjectFolder(path)

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Identity,
        dataset: Dataset,
        samples: pd.DataFrame,
        layout: Layout,
        provenance: dict[str, Any],
    ) -> Store:
        """Create an empty store; the root's attributes are written last and make it valid."""
        if path.exists() and not creation_was_interrupted(path):
            raise StoreError(f"{path} exists and is not a samcache store: choose another --store")
        for leftover in path.iterdir() if path.exists() else ():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        root = zarr.create_group(path, attributes={"samcache": {"creating": True}})
        create_arrays(root, layout, identity)
        write_samples(root, samples)
        root.create_group("commits")
        finished: dict[str, Any] = {
            "identity": asdict(identity),
            "fingerprint": identity.fingerprint(),
            "dataset": asdict(dataset),
            "provenance": provenance,
        }
        root.attrs.put({"samcache": finished})
        return cls(path, "r+")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The sample table: id, label, split, group, status, reason, sha256; one row an image.

        ``status`` is "ok", "unreadable" (with a reason) or "missing" (not committed yet).
        """
        table = self.read_samples()
        status = np.full(len(table), "missing", dtype=object)
        reason, sha256 = np.full((2, len(table)), "", dtype=object)
        for commit in self.commits.values():
            start, stop = commit.rows
            status[start:stop], sha256[start:stop] = "ok", commit.sources
            for row, text in commit.failures.items():
                status[row], reason[row] = "unreadable", text
        return table.assign(status=status, reason=reason, sha256=sha256)

    def read_samples(self) -> pd.DataFrame:
        """The columns id, label, split and group as they were written at creation."""
        return read_samples(self._root, self.layout.rows)

    @cached_property
    def commits(self) -> dict[int, Commit]:
        """Every commit record, by shard; raises StoreError at the first that is damaged."""
        return {shard: self.read_commit(shard) for shard in self.committed()}

    def committed(self) -> list[int]:
        """Shards that have a commit record now, in order."""
        keys = self._objects.sizes("commits")
        return [shard for shard in range(self.layout.shards) if commit_key(shard) in keys]

    def read_commit(self, shard: int) -> Commit:
        """A shard's commit record; raises StoreError where it is damaged."""
        commit = Commit.from_bytes(self._objects.get(commit_key(shard)), shard)
        if commit.rows != self.layout.rows_of(shard):
            raise StoreError(f"commit record of shard {shard} covers rows {commit.rows}: damaged")
        return commit

    def pending(self) -> list[int]:
        """Shards without a commit, in order."""
        return [shard for shard in range(self.layout.shards) if shard not in self.commits]

    def commit(self, shard: int, content: ShardContent) -> None:
        """Write a shard whole and, last, its commit record.

        What an interrupted writer left of the shard is removed first. Raises StoreError where the
        shard was committed in the meantime; the standing commit is left as it is.
        """
        start, stop = self.layout.rows_of(shard)
        keys = self.object_keys(shard)
        self._objects.delete(keys)
        blocks = {feature_path(level): block for level, block in content.features.items()}
        if content.images is not None:
            blocks[IMAGES] = content.images
        for path, block in blocks.items():
            self._writable(path)[start:stop] = block
        moments = [content.moments[level].to_rows() for level in self.identity.levels]
        self._writable(STATISTICS)[shard] = np.concatenate(moments, axis=1)
        objects = self._objects.seal(keys)
        commit = Commit(shard, (start, stop), objects, content.sources, content.failures)
        if not self._objects.create(commit_key(shard), commit.to_bytes()):
            raise StoreError(f"shard {shard} was committed by another process: run extract again")
        self.commits[shard] = commit
        self.__dict__.pop("samples", None)

    def _writable(self, path: str) -> zarr.Array[Any]:
        """An array that writes a shard's chunks in order: same values, same bytes, same checksum.

        With more threads zarrs puts the chunks of a shard in the order in which they get ready.
        """
        with zarr.config.set({"threading.max_workers": 1}):
            return array_at(self._root, path)

    def object_keys(self, shard: int) -> list[str]:
        """The keys of all objects that belong to a shard, the commit record apart."""
        paths = [feature_path(level) for level in self.identity.levels]
        paths += [IMAGES] if self.identity.frame_size else []
        keys = []
        for path in [*paths, STATISTICS]:
            array = array_at(self._root, path)
            place = (shard, *[0] * (array.ndim - 1))
            keys.append(f"{path}/{array.metadata.encode_chunk_key(place)}")
        return keys

    def object_sizes(self) -> dict[str, int]:
        """Key and size in bytes of every array object that is there, committed or not."""
        found = self._objects.sizes("features") | self._objects.sizes(STATISTICS)
        return found | (self._objects.sizes(IMAGES) if self.identity.frame_size else {})

    def object_sha256(self, key: str) -> str:
        """SHA-256 (hex) of an object as it stands now; raises FileNotFoundError."""
        return hashlib.sha256(self._objects.get(key)).hexdigest()

    def bytes_of(self, path: str) -> int:
        """Committed bytes of one array, by its path in the store."""
        sizes = (
            record.bytes
            for commit in self.commits.values()
            for key, record in commit.objects.items()
            if key.startswith(f"{path}/")
        )
        return sum(sizes)

    def read(self, path: str, start: int, stop: int) -> Array:
        """Rows of an array by its path, checksums checked; raises StoreError where damaged."""
        return read_rows(self._root, path, start, stop)

    def row_is_intact(self, path: str, row: int) -> bool:
        """Whether one row of an array passes its own checksums."""
        return row_is_intact(self._root, path, row)

    def read_features(self, level: str, start: int, stop: int) -> Array:
        """Rows of one level's maps, (n, V, C, h, w); raises StoreError as ``read``."""
        return self.read(feature_path(level), start, stop)

    def read_images(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Rows of the cached images, (n, F, F, 3) uint8 RGB; raises StoreError as ``read``."""
        return self.read(IMAGES, start, stop)

    def features(self, level: str) -> zarr.Array[Any]:
        """One level's maps, (N, V, C, h, w); rows of uncommitted shards read as zeros."""
        return array_at(self._root, feature_path(level))

    @property
    def images(self) -> zarr.Array[Any]:
        """The cached images, (N, F, F, 3) uint8 RGB; raises StoreError where there are none."""
        return array_at(self._root, IMAGES)

    def statistics(self, level: str) -> Moments:
        """Moments of the committed training rows' unpooled maps, per channel."""
        place = self.layout.channels[level]
        rows = self.read(STATISTICS, 0, self.layout.shards)[:, :, place]
        moments = Moments.zero(place.stop - place.start)
        for shard in sorted(self.commits):
            moments = moments.merge(Moments.from_rows(rows[shard]))
        return moments


def creation_was_interrupted(path: Path) -> bool:
    """Whether a folder holds a store whose creation never finished, and so nothing of value."""
    if all(entry.suffix == ".partial" for entry in path.iterdir()):  # zarr's temporary files
        return True
    try:
        attributes = zarr.open_group(path, mode="r").attrs.get("samcache")
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return attributes == {"creating": True}


def _open_root(path: Path, mode: str) -> zarr.Group:
    if not path.is_dir():
        raise StoreError(f"no store at {path}: run samcache extract first, or check the path")
    try:
        return zarr.open_group(path, mode="r" if mode == "r" else "r+")
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a Zarr group ({error}): is it a samcache store?") from None


def _dataset(attributes: dict[str, Any]) -> Dataset:
    try:
        value = attributes["dataset"]
        names = tuple(str(name) for name in value["classes"])
        return Dataset(str(value["name"]), names, str(value["split_origin"]))
    except (KeyError, TypeError) as error:
        raise StoreError(f"the store's dataset attribute is damaged: {error}") from None
