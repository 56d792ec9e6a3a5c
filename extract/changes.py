"""Compare a source with a store, and derive the store's next sample table from the source."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import StoreError
from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import COLUMNS
from samcache.cache.store import Store
from samcache.extract.pipeline.read.rows import GONE
from samcache.extract.sources.base import Source
from samcache.extract.sources.known_splits import ReadHashes, follow_known_splits
from samcache.extract.sources.source_hashes import read_hashes


@dataclass(frozen=True)
class Changes:
    """Ids of samples by what has changed in the source since the samples were stored.

    The fields are keys of the plan's JSON, which programs read.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()  # another class, split or group
    changed: tuple[str, ...] = ()  # other bytes
    mended: tuple[str, ...] = ()  # unreadable when they were stored, and other bytes now
    unreachable: tuple[str, ...] = ()  # readable when they were stored, and not now
    uncompared: int = 0  # stored images whose bytes were not compared with the source's


def fit_to_store(
    samples: pd.DataFrame,
    source: Source,
    store: Store,
    split_seed: int,
    read_hashes: ReadHashes | None = None,
) -> pd.DataFrame:
    """Bring a source's table to a store's labels and splits: drawn splits are not drawn again.

    read_hashes: of the source's images, so that new copies of known images join their split.
    Raises StoreError where the source has a class that the store does not know, another kind of
    split, or not one sample of the store.
    """
    if not samples["id"].isin(store.table["id"]).any():
        raise StoreError(
            f"{store.location} holds {store.dataset.name}, and no sample of the source: extract "
            "another data set into another store",
            hint="store",
        )
    if source.split_origin != store.dataset.split_origin:
        raise StoreError(
            f"splits in {store.location}: {store.dataset.split_origin!r}, in this run: "
            f"{source.split_origin!r}: use the same source and split seed, or another store",
            hint="split_seed store",
        )
    samples = use_store_labels(samples, source, store)
    if source.split_origin.startswith(DRAWN):
        samples["split"] = follow_known_splits(samples, store, split_seed, read_hashes)
    return samples


def use_store_labels(samples: pd.DataFrame, source: Source, store: Store) -> pd.DataFrame:
    """Give a source's table labels that index the store's classes.

    Raises StoreError where the source has a class that the store does not know.
    """
    unknown = [name for name in source.classes if name not in store.dataset.classes]
    if unknown:
        raise StoreError(
            f"{store.location} has the classes {', '.join(store.dataset.classes)}, the source also "
            f"{', '.join(unknown)}, which would shift the labels: extract into another store",
            hint="store",
        )
    numbers = [store.dataset.classes.index(name) for name in source.classes]
    return samples.assign(label=np.array(numbers, np.int64)[samples["label"]])


def compare(samples: pd.DataFrame, store: Store) -> Changes:
    """Compare a table of ``fit_to_store`` with the store's, by ids and columns alone."""
    before = store.table.set_index("id")
    now = samples.set_index("id")
    shared = now.index.intersection(before.index, sort=False)
    columns = [column for column in COLUMNS if column != "id"]
    differs = (before.loc[shared, columns] != now.loc[shared, columns]).any(axis=1)
    lost = store.samples["id"][store.samples["reason"] == GONE]
    return Changes(
        added=tuple(now.index.difference(before.index, sort=False)),
        removed=tuple(before.index.difference(now.index, sort=False)),
        relabelled=tuple(shared[differs.to_numpy()]),
        mended=tuple(lost[lost.isin(now.index)]),
    )


def compare_bytes(
    changes: Changes,
    samples: pd.DataFrame,
    source: Source,
    store: Store,
    on_images: Callable[[int, int], None],
) -> Changes:
    """The changes with the ids whose source bytes are not those that were stored.

    samples: the source's table with the store's ids, in the source's order. on_images: called with
    the number of images compared so far, and of all.
    """
    tried = store.samples[store.samples["status"] != "missing"]
    known = samples[["id"]].assign(place=np.arange(len(samples)))
    known = known.merge(tried[["id", "sha256", "status"]], on="id")
    known["now"] = list(read_hashes(source, known["place"].tolist(), on_images))
    readable, reached = known["status"] == "ok", known["now"].notna()
    other = reached & (known["now"] != known["sha256"])
    return replace(
        changes,
        changed=tuple(known["id"][readable & other]),
        mended=tuple(known["id"][~readable & other]),
        unreachable=tuple(known["id"][readable & ~reached]),
    )


def count_tried(store: Store) -> int:
    """How many images of a store have been encoded, or tried and found unreadable."""
    return int((store.samples["status"] != "missing").sum())


def make_next_table(
    samples: pd.DataFrame, store: Store, changes: Changes, prune: bool
) -> pd.DataFrame | None:
    """The sample table that follows the source, or None where the store's own table does.

    New samples, and samples to encode again, get rows past all shards that exist, so that nothing
    committed changes.
    """
    again = {*changes.mended, *(changes.changed if prune else ())}
    table = store.table
    kept = table[~table["id"].isin(again | (set(changes.removed) if prune else set()))]
    if prune and changes.relabelled:
        now = samples.set_index("id")
        known = kept["id"].isin(now.index).to_numpy()
        kept = kept.copy()
        for column in ("label", "split", "group"):
            kept.loc[known, column] = now.loc[kept["id"][known], column].to_numpy()
    fresh = samples[samples["id"].isin(again | set(changes.added))]
    first = store.layout.shards * store.rows_per_shard
    fresh = fresh.assign(row=np.arange(first, first + len(fresh)))
    following = pd.concat([kept, fresh[[*COLUMNS, "row"]]], ignore_index=True)
    return None if _is_same(following, table) else following


def find_places(store: Store, samples: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each sample of the store's table its place in the source, -1 where the source lacks it.

    samples: the source's table with the store's ids. Returns (n,).
    """
    places: npt.NDArray[np.int64] = pd.Index(samples["id"]).get_indexer(store.table["id"])
    return places


def _is_same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables have equal values, also in columns of different text types."""
    if len(first) != len(second):
        return False
    return all((first[name].to_numpy() == second[name].to_numpy()).all() for name in second)
