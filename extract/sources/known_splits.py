"""Splits that samcache draws itself: copies of an image stay together, and nobody moves later."""

from collections.abc import Callable

import pandas as pd

from samcache.cache.labels.units import name_units
from samcache.cache.store import Store
from samcache.extract.sources.splits import draw_splits

ReadHashes = Callable[[list[int]], list[str]]  # places in a source -> SHA-256, "" where unreadable


def keep_copies_together(samples: pd.DataFrame, sha256: list[str], seed: int) -> pd.Series:
    """The drawn split of each sample; drawn again, with copies whole, where it parts some.

    samples: a source's own table, whose splits were drawn with the same seed.
    """
    units = name_units(samples.assign(sha256=sha256))
    if samples["split"].groupby(units).nunique().max() == 1:
        return samples["split"]
    return draw_splits(samples.assign(group=units), seed)


def follow_known_splits(
    samples: pd.DataFrame, store: Store, seed: int, read_hashes: ReadHashes | None
) -> list[str]:
    """The store's split for each id, group and image it knows; others are drawn among themselves.

    read_hashes: None compares no images.
    """
    stored = store.samples[["id", "group", "split", "sha256"]]
    by_id = _map_splits(stored, "id")
    fresh = samples[~samples["id"].isin(stored["id"])]
    if len(fresh):
        by_group = _map_splits(stored[stored["group"] != ""], "group")
        everyone = pd.concat([stored, fresh[["id", "group"]]], ignore_index=True)
        sha256 = _find_hashes(everyone, samples, read_hashes) if read_hashes else ""
        units = name_units(everyone.assign(sha256=sha256)).tolist()
        by_unit = dict(zip(units[: len(stored)], stored["split"].tolist(), strict=True))
        fresh = fresh.assign(unit=units[len(stored) :])
        by_id |= {
            name: split
            for name, group, unit in fresh[["id", "group", "unit"]].itertuples(index=False)
            if (split := by_group.get(group) or by_unit.get(unit))
        }
        rest = fresh[~fresh["id"].isin(by_id)]
        if len(rest):
            drawn = draw_splits(rest.assign(group=rest["unit"]), seed)
            by_id |= dict(zip(rest["id"].tolist(), drawn.tolist(), strict=True))
    return [by_id[name] for name in samples["id"].tolist()]


def _map_splits(stored: pd.DataFrame, column: str) -> dict[str, str]:
    # as lists: pandas takes long to iterate over text
    return dict(zip(stored[column].tolist(), stored["split"].tolist(), strict=True))


def _find_hashes(
    everyone: pd.DataFrame, samples: pd.DataFrame, read_hashes: ReadHashes
) -> list[str]:
    """What is stored, and for images that have not been encoded what the source has."""
    stored = everyone["sha256"].fillna("").tolist()
    places = pd.Index(samples["id"]).get_indexer(everyone["id"]).tolist()
    unread = [place for place, sha in zip(places, stored, strict=True) if place >= 0 and not sha]
    read = dict(zip(unread, read_hashes(unread), strict=True))
    return [sha or read.get(place, "") for place, sha in zip(places, stored, strict=True)]
