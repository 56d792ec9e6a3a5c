"""Compare a source with a store, and derive the store's next sample table from the source."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.errors import StoreError
from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import NO_LABEL, list_columns, list_kept
from samcache.cache.store import Store
from samcache.cache.text import count_nouns, list_first
from samcache.extract.pipeline.read.rows import GONE
from samcache.extract.sources.base import Source
from samcache.extract.sources.known_splits import ReadHashes, follow_known_splits
from samcache.extract.sources.source_hashes import read_hashes

_PLACING = ["split", "group"]


@dataclass(frozen=True)
class Changes:
    """Ids of samples by what has changed in the source since the samples were stored.

    The fields are keys of the plan's JSON, which programs read.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()  # another class
    regrouped: tuple[str, ...] = ()  # another split, group or value of a kept column
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

    Raises StoreError where the source has a class that the store does not know, or where one of
    them has labels and the other has none.
    """
    own = store.dataset.classes
    if not source.classes and own:
        raise StoreError(
            f"{store.location} has the classes {list_first(own)}, and the source no labels: give "
            "the labels, or extract into another store",
            hint="label_column store",
        )
    if unknown := [name for name in source.classes if name not in own]:
        theirs = f"has the classes {list_first(own)}" if own else "holds no labels"
        raise StoreError(
            f"{store.location} {theirs}, the source also {list_first(unknown)}, and the classes of "
            "a store never change: to ask another question of this store, train it with a table of "
            "labels and the column with the answer; else extract into another store",
            hint="labels+target store",
        )
    numbers = np.array([own.index(name) for name in source.classes], np.int64)
    return samples.assign(label=numbers[samples["label"]] if len(numbers) else NO_LABEL)


def compare(samples: pd.DataFrame, store: Store) -> Changes:
    """Compare a table of ``fit_to_store`` with the store's, by ids and columns alone."""
    before = store.table.set_index("id")
    now = samples.set_index("id")
    stored = before.index
    shared = now.index.intersection(stored, sort=False)
    before, following = before.loc[shared], now.loc[shared]
    relabelled = (before["label"] != following["label"]).to_numpy()
    placing = _list_placing(samples, store.table)
    moved = (before[placing] != following[placing]).any(axis=1).to_numpy()
    lost = store.samples["id"][store.samples["reason"] == GONE]
    return Changes(
        added=tuple(now.index.difference(stored, sort=False)),
        removed=tuple(stored.difference(now.index, sort=False)),
        relabelled=tuple(shared[relabelled]),
        regrouped=tuple(shared[moved]),
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
    samples: pd.DataFrame, store: Store, changes: Changes, prune: bool, relabel: bool = False
) -> pd.DataFrame | None:
    """The sample table that follows the source, or None where the store's own table does.

    New samples, and samples to encode again, get rows past all shards that exist, so that nothing
    committed changes. prune: follow what left the source, other bytes, splits, groups and values of
    kept columns; relabel: follow other classes. Columns that are kept from now on are added. Raises
    StoreError where pruning alone would give samples other classes.
    """
    if prune and changes.relabelled and not relabel:
        raise StoreError(
            f"the source has other classes for {count_nouns(len(changes.relabelled), 'image')} of "
            f"{store.location} ({list_first(changes.relabelled)}), and pruning changes no classes: "
            "to ask another question, train with a table of labels; if the store's own labels are "
            "wrong, relabel",
            hint="labels relabel",
        )
    again = {*changes.mended, *(changes.changed if prune else ())}
    placing, kept_now = _list_placing(samples, store.table), list_kept(samples)
    new = {name: "" for name in kept_now if name not in store.table}
    followed = [*(placing if prune else ()), *(["label"] if relabel else ()), *new]
    table = _replace(store.table.assign(**new), samples, followed)
    kept = table[~table["id"].isin(again | (set(changes.removed) if prune else set()))]
    fresh = samples[samples["id"].isin(again | set(changes.added))]
    fresh = _replace(fresh, table, ["label", *placing])  # of those that are encoded again
    first = store.layout.shards * store.rows_per_shard
    fresh = fresh.assign(row=np.arange(first, first + len(fresh)))
    columns = [*list_columns(table), "row"]
    fresh = fresh.reindex(columns=columns, fill_value="")
    following = pd.concat([kept[columns], fresh], ignore_index=True)
    return None if _is_same(following, store.table) else following


def _list_placing(samples: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The columns of both tables that pruning follows."""
    return [*_PLACING, *(name for name in list_kept(samples) if name in table)]


def _replace(table: pd.DataFrame, by: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table with some columns of another one, for the ids that both have."""
    known = table["id"].isin(by["id"]).to_numpy()
    if not columns or not known.any():
        return table
    table, values = table.copy(), by.set_index("id").loc[table["id"][known]]
    for column in columns:
        table.loc[known, column] = values[column].to_numpy()
    return table


def find_places(store: Store, samples: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each sample of the store's table its place in the source, -1 where the source lacks it.

    samples: the source's table with the store's ids. Returns (n,).
    """
    places: npt.NDArray[np.int64] = pd.Index(samples["id"]).get_indexer(store.table["id"])
    return places


def _is_same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables have equal values, also in columns of different text types."""
    if len(first) != len(second) or set(first) != set(second):
        return False
    return all((first[name].to_numpy() == second[name].to_numpy()).all() for name in second)
