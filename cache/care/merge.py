"""Join stores of one identity into a new store, row by row, without encoding."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.commit import Writer, commit_shard
from samcache.cache.create import create_store, store_exists
from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.pixel_options import PROVENANCE, PixelOptions, join_pixel_options
from samcache.cache.format.samples import NO_LABEL, describe_difference, list_columns, list_kept
from samcache.cache.labels.classes import list_used_classes
from samcache.cache.labels.duplicates import refuse_split_groups
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import ShardContent, Store
from samcache.cache.text import count_nouns, list_first

Array = npt.NDArray[Any]

_LONGEST_PREFIX = 100  # characters
_AGREE = ("sha256", "split", "class", "group")  # of samples with one id


@dataclass(frozen=True)
class Plan:
    """The merged store: its description, and the source of each row.

    table: one line a row of the merged store, with the columns id, label, split, group, reason,
    sha256, status, source (place in ``stores``) and source_row (in that store).
    """

    stores: tuple[Store, ...]
    description: Description
    table: pd.DataFrame


def merge_stores(
    stores: list[Store],
    destination: str | Path,
    allow_split_groups: bool = False,
    prefixes: tuple[str, ...] = (),
    on_progress: OnProgress = ignore_progress,
) -> Store:
    """Join complete stores of one identity into a new store.

    Copies rows bit for bit, unreadable images with their reasons. Leaves out rows that no sample
    table names, so that merging one store compacts it, and classes without samples. Joins classes
    by name. Keeps a sample of two stores once if source bytes, split, class and group agree, and
    readable if one copy is. An interrupted merge lacks shards; merging the same stores again
    completes it.

    prefixes: one for each store, put before its ids and groups with a "/", so that equal names in
    two stores are two samples and two groups; without prefixes names stay as they are.

    Raises ConfigError for prefixes that do not fit, SourceError for a group in two splits (unless
    ``allow_split_groups``), and StoreError where stores differ in identity, lack images or
    contradict each other, or where the destination holds something else.
    """
    plan = plan_merge(stores, allow_split_groups, prefixes)
    objects = open_objects(destination)
    store_exists(objects)  # before a claim is written into a place that is no store
    with Writer(destination, objects) as writer:
        store = _begin(plan, writer)
        rows = _SourceRows(plan)
        pending = store.list_pending()
        for number, shard in enumerate(pending, 1):
            _merge_shard(plan, rows, store, shard, writer)
            on_progress("merging", number, len(pending))
        left = store.list_pending()
    if left:
        raise StoreError(
            f"{store.location}: another process is writing {count_nouns(len(left), 'shard')}: run "
            "the command again when that process has finished"
        )
    return Store(destination, objects)


def plan_merge(
    stores: list[Store], allow_split_groups: bool, prefixes: tuple[str, ...] = ()
) -> Plan:
    """Decide the rows of the merged store; reads no feature, raises as ``merge_stores``."""
    first = stores[0]
    _check_prefixes(prefixes, len(stores))
    _check_distinct(stores)
    for store in stores[1:]:
        _check_identity(first, store)
    used = [list_used_classes(store.table, store.dataset.classes) for store in stores]
    if without := [store for store, names in zip(stores, used, strict=True) if not names]:
        _refuse_partly_labelled(without, stores)
    classes = tuple(dict.fromkeys(name for names in used for name in names))
    tables = [_load_source_table(place, store, classes) for place, store in enumerate(stores)]
    if prefixes:
        tables = [_add_prefix(*pair) for pair in zip(tables, prefixes, strict=True)]
    whole = pd.concat(tables, ignore_index=True)
    whole = whole.fillna(dict.fromkeys(list_kept(whole), ""))  # of stores that keep fewer columns
    table = _drop_repeated(whole, stores)
    if not allow_split_groups:
        refuse_split_groups(table, "in the merged table, ")
    description = Description(
        first.identity,
        Dataset(
            name=_join_texts(store.dataset.name for store in stores),
            classes=classes,
            split_origin=_join_texts(store.dataset.split_origin for store in stores),
        ),
        first.rows_per_shard,
        first.layout.level_shapes,
        {"merged": _record_provenance(stores, prefixes), **_record_pixel_options(stores)},
    )
    return Plan(tuple(stores), description, table)


def _check_distinct(stores: list[Store]) -> None:
    """Raise ConfigError where a store is given twice: its samples would be two, by their prefix."""
    places = [
        store.location if store.remote else os.path.realpath(store.location) for store in stores
    ]
    for store, place in zip(stores, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"{store.location} is given twice: give each store once")


def _check_identity(first: Store, store: Store) -> None:
    """Raise StoreError where two stores have different identities."""
    here, there = asdict(first.identity), asdict(store.identity)
    here["level shapes"], there["level shapes"] = (
        {level: tuple(shape) for level, shape in one.layout.level_shapes.items()}
        for one in (first, store)
    )
    for name, value in here.items():
        if there[name] != value:
            raise StoreError(
                f"{store.location} cannot be merged with {first.location}: its {name} is "
                f"{there[name]!r}, the other's {value!r}"
            )


def _refuse_partly_labelled(without: list[Store], stores: list[Store]) -> None:
    """Raise StoreError where some stores have labels and some none."""
    if len(without) < len(stores):
        labelled = next(store for store in stores if store not in without)
        raise StoreError(
            f"{without[0].location} holds no labels, and {labelled.location} does: merge stores "
            "that both have labels, or none"
        )


def _load_source_table(place: int, store: Store, classes: tuple[str, ...]) -> pd.DataFrame:
    """A store's samples with merged class numbers; raises StoreError where some are missing."""
    samples = store.samples
    missing = int((samples["status"] == "missing").sum())
    if missing:
        raise StoreError(
            f"{store.location} lacks {missing} of {count_nouns(len(samples), 'image')}: finish "
            "samcache extract first"
        )
    own, labels = store.dataset.classes, samples["label"].to_numpy()
    numbers = np.array([*(classes.index(n) if n in classes else -1 for n in own), NO_LABEL])
    names = np.array([*own, ""], object)  # the last for NO_LABEL
    return samples.rename(columns={"row": "source_row"}).assign(
        **{"label": numbers[labels], "class": names[labels], "source": place}
    )


def _check_prefixes(prefixes: tuple[str, ...], stores: int) -> None:
    """Raise ConfigError unless each store has a prefix that can begin a file's path."""
    if prefixes and len(prefixes) != stores:
        raise ConfigError(
            f"expected one prefix for each of the {stores} stores, in their order, found "
            f"{len(prefixes)}: give one for each store",
            hint="prefixes",
        )
    for prefix in prefixes:
        odd = not prefix.isprintable() or not {"", ".", ".."}.isdisjoint(prefix.split("/"))
        if odd or "\\" in prefix or len(prefix) > _LONGEST_PREFIX:
            raise ConfigError(
                f"expected a prefix such as siteA or siteA/mri, of at most {_LONGEST_PREFIX} "
                f"characters, found {prefix[:_LONGEST_PREFIX]!r}: give another",
                hint="prefixes",
            )


def _add_prefix(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """A store's samples with a prefix before ids and groups; no group stays no group."""
    group = table["group"]
    return table.assign(
        id=f"{prefix}/" + table["id"], group=group.where(group == "", f"{prefix}/" + group)
    )


def _drop_repeated(table: pd.DataFrame, stores: list[Store]) -> pd.DataFrame:
    """Each id once, at its first place; raises StoreError where its copies disagree."""
    repeated = table[table["id"].duplicated(keep=False)]
    for column in (*_AGREE, *list_kept(table)):
        values = repeated.groupby("id", sort=False)[column].nunique()
        names = values.index[values > 1]
        if len(names):
            copies = repeated[repeated["id"] == names[0]]
            other = copies[copies[column] != copies[column].iloc[0]].iloc[0]
            shown = list_first([repr(name) for name in names])
            raise StoreError(
                f"{names[0]!r} is in {stores[copies['source'].iloc[0]].location} and "
                f"{stores[other['source']].location} with another {column} "
                f"({copies[column].iloc[0]!r}, {other[column]!r}); {count_nouns(len(names), 'id')} "
                f"with such copies ({shown}): drop them from one store or, if the images differ, "
                "give each store a prefix",
                hint="prefixes",
            )
    order = table["id"].drop_duplicates()
    readable_first = table.sort_values("status", key=lambda status: status != "ok", kind="stable")
    kept = readable_first.drop_duplicates("id").set_index("id", drop=False)
    return kept.loc[order].reset_index(drop=True)


def _join_texts(texts: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(texts))


def _record_provenance(stores: list[Store], prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The inputs of a merged store, without anything that differs when the merge is resumed."""
    inputs: list[dict[str, Any]] = [
        {
            "dataset": store.dataset.name,
            "samples": store.generation.count,
            "provenance": store.provenance,
        }
        for store in stores
    ]
    for one, prefix in zip(inputs, prefixes, strict=False):
        one["prefix"] = prefix
    return inputs


def _record_pixel_options(stores: list[Store]) -> dict[str, Any]:
    joined = join_pixel_options(PixelOptions.from_record(store.provenance) for store in stores)
    return {} if joined is None else {PROVENANCE: joined.to_json()}


def _begin(plan: Plan, writer: Writer) -> Store:
    """A new store without shards, or the one that an earlier merge of the same stores began."""
    samples = plan.table[list_columns(plan.table)]
    with writer.claim_table():
        if store_exists(writer.objects):
            store = writer.open()
        else:
            store = create_store(writer.location, writer.objects, plan.description, samples)
    difference = describe_difference(store.table, samples)
    if store.generation.runs != ((0, len(samples)),):
        difference = "its rows have moved"
    if replace(store.description, table=None).to_bytes() != plan.description.to_bytes():
        difference = "another description"
    if difference:
        raise StoreError(
            f"{store.location} holds a store that is not the merge of these ({difference}): choose "
            "another destination"
        )
    return store


def _merge_shard(plan: Plan, rows: "_SourceRows", store: Store, shard: int, writer: Writer) -> None:
    """Copy the rows of one shard and commit it, unless another process is doing so or has."""
    claim = writer.claim_pending(store, shard)
    if claim is None:
        return
    with claim:
        start, stop = store.layout.find_rows(shard)
        part = plan.table.iloc[start:stop]
        failed = part[part["status"] == "unreadable"]
        content = ShardContent(
            blocks={path: rows.read(path, part) for path in store.arrays},
            sources=tuple(part["sha256"]),
            failures=dict(zip(map(int, failed.index), failed["reason"], strict=True)),
        )
        commit_shard(store, shard, content, claim.is_ours)


class _SourceRows:
    """Reads rows of the merged arrays from the stores; keeps the last shard of each array."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept: dict[str, tuple[tuple[int, int], Array]] = {}

    def read(self, path: str, part: pd.DataFrame) -> Array:
        """Rows of an array, (n, …), for n lines of the plan's table."""
        spec = self._plan.stores[0].arrays[path]
        out: Array = np.zeros((len(part), *spec.row), spec.dtype)
        sources, rows = part["source"].to_numpy(), part["source_row"].to_numpy()
        sizes = np.array([store.rows_per_shard for store in self._plan.stores])
        shards = rows // sizes[sources]
        breaks = np.flatnonzero((np.diff(sources) != 0) | (np.diff(shards) != 0)) + 1
        for places in np.split(np.arange(len(part)), breaks):
            source, shard = int(sources[places[0]]), int(shards[places[0]])
            block = self._read_shard(path, source, shard)
            out[places] = block[rows[places] - shard * sizes[source]]
        return out

    def _read_shard(self, path: str, source: int, shard: int) -> Array:
        if path not in self._kept or self._kept[path][0] != (source, shard):
            store = self._plan.stores[source]
            self._kept.pop(path, None)  # its memory first
            self._kept[path] = (source, shard), store.read(path, *store.commits[shard].rows)
        return self._kept[path][1]
