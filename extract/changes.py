"""What a store's sample table has to become, given what the source holds now."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from samcache.cache.errors import StoreError
from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import COLUMNS
from samcache.cache.store import Store
from samcache.cache.text import count_nouns, list_first
from samcache.extract.sources.base import Source
from samcache.extract.sources.source_hashes import source_hashes
from samcache.extract.sources.splits import ReadHashes, follow_known_splits

GONE = "it is no longer in the source"  # the reason of images that left it before they were encoded


@dataclass(frozen=True)
class Changes:
    """Ids of samples by what became of them in the source since they were stored."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()  # another class, split or group
    changed: tuple[str, ...] = ()  # other bytes
    mended: tuple[str, ...] = ()  # unreadable when they were stored, and other bytes now
    unreachable: tuple[str, ...] = ()  # readable when they were stored, and not now
    uncompared: int = 0  # stored images whose bytes were not compared with the source's

    def lines(self, pruned: bool, limited: bool = False) -> list[str]:
        """What a user should know, a line for each kind."""
        kept = "dropped" if pruned else "kept unchanged; --prune drops them"
        gone = "outside of --limit: kept" if limited else f"no longer in the source: {kept}"
        redone = "encoded anew" if pruned else "kept unchanged; --prune encodes them anew"
        followed = "changed" if pruned else "kept unchanged; --prune follows the source"
        texts = {
            "new in the source: added": self.added,
            gone: self.removed,
            f"with other bytes in the source: {redone}": self.changed,
            f"with another class, split or group in the source: {followed}": self.relabelled,
            "unreadable before, and changed or back since: read again": self.mended,
            "cannot be read now: kept unchanged": self.unreachable,
        }
        lines = [
            f"{count_nouns(len(ids), 'image')} {text} ({list_first(ids)})"
            for text, ids in texts.items()
            if ids
        ]
        if self.uncompared:
            lines.append(
                f"{count_nouns(self.uncompared, 'stored image')}: not compared with the source's "
                "bytes, as a run of one process does first"
            )
        return lines


def fitted(
    samples: pd.DataFrame,
    source: Source,
    store: Store,
    split_seed: int,
    read_hashes: ReadHashes | None = None,
) -> pd.DataFrame:
    """A source's table in a store's terms: labels by class name, drawn splits never drawn again.

    read_hashes: of the source's images, so that new copies of known images join their split.
    Raises StoreError where the source has a class that the store does not know, another kind of
    split, or not one sample of the store.
    """
    if not samples["id"].isin(store.table["id"]).any():
        raise StoreError(
            f"{store.location} holds {store.dataset.name}, and not one sample of the source: "
            "extract another data set into another --store"
        )
    if source.split_origin != store.dataset.split_origin:
        raise StoreError(
            f"splits in {store.location}: {store.dataset.split_origin!r}, in this run: "
            f"{source.split_origin!r}: use the same source and --split-seed, or another --store"
        )
    samples = with_the_stores_labels(samples, source, store)
    if source.split_origin.startswith(DRAWN):
        samples["split"] = follow_known_splits(samples, store, split_seed, read_hashes)
    return samples


def with_the_stores_labels(samples: pd.DataFrame, source: Source, store: Store) -> pd.DataFrame:
    """A source's table with labels that index the store's classes; raises StoreError as above."""
    unknown = [name for name in source.classes if name not in store.dataset.classes]
    if unknown:
        raise StoreError(
            f"{store.location} has the classes {', '.join(store.dataset.classes)}, the source also "
            f"{', '.join(unknown)}: labels would shift; extract into another --store"
        )
    numbers = [store.dataset.classes.index(name) for name in source.classes]
    return samples.assign(label=np.array(numbers, np.int64)[samples["label"]])


def compare(samples: pd.DataFrame, store: Store) -> Changes:
    """What differs between a fitted table and the store's, ids and columns alone."""
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
    on_image: Callable[[], None],
) -> Changes:
    """The changes with the ids whose source bytes are not those that were stored.

    samples: the source's table with the store's ids, in the source's order.
    """
    stored = store.samples[store.samples["status"] != "missing"]
    known = samples[["id"]].assign(place=np.arange(len(samples)))
    known = known.merge(stored[["id", "sha256", "status"]], on="id")
    known["now"] = list(source_hashes(source, known["place"].tolist(), on_image))
    readable, reached = known["status"] == "ok", known["now"].notna()
    other = reached & (known["now"] != known["sha256"])
    return replace(
        changes,
        changed=tuple(known["id"][readable & other]),
        mended=tuple(known["id"][~readable & other]),
        unreachable=tuple(known["id"][readable & ~reached]),
    )


def stored_images(store: Store) -> int:
    """How many images have been stored, or tried."""
    return int((store.samples["status"] != "missing").sum())


def next_table(
    samples: pd.DataFrame, store: Store, changes: Changes, prune: bool
) -> pd.DataFrame | None:
    """The sample table that follows the source, or None where the store's own will do.

    New samples, and those to be encoded anew, get rows past all shards that exist, so that nothing
    committed is touched.
    """
    anew = {*changes.mended, *(changes.changed if prune else ())}
    table = store.table
    kept = table[~table["id"].isin(anew | (set(changes.removed) if prune else set()))]
    if prune and changes.relabelled:
        now = samples.set_index("id")
        known = kept["id"].isin(now.index).to_numpy()
        kept = kept.copy()
        for column in ("label", "split", "group"):
            kept.loc[known, column] = now.loc[kept["id"][known], column].to_numpy()
    fresh = samples[samples["id"].isin(anew | set(changes.added))]
    first = store.layout.shards * store.rows_per_shard
    fresh = fresh.assign(row=np.arange(first, first + len(fresh)))
    following = pd.concat([kept, fresh[[*COLUMNS, "row"]]], ignore_index=True)
    return None if _same(following, table) else following


def _same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables have the same values, in whatever kind of text their columns are."""
    if len(first) != len(second):
        return False
    return all((first[name].to_numpy() == second[name].to_numpy()).all() for name in second)
