"""Compare two stores by their records; no feature is read."""

from collections.abc import Sized
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import Commit
from samcache.cache.format.samples import list_kept
from samcache.cache.store import Store


@dataclass(frozen=True)
class Change:
    """One field that the two stores have different values for."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class SampleChange:
    """One field of a sample that both stores have."""

    id: str
    name: str  # label (as class name), split, group, sha256, status, or KEPT + a kept column's
    a: str
    b: str


@dataclass(frozen=True)
class Difference:
    """What differs between the stores A and B.

    only_a, only_b: ids. features: array path -> ids of samples in shards whose objects differ;
    such a shard has at least one row that differs. compared counts the samples with data in both
    whose shards hold the same ids in the same places and could be compared, uncompared the others.
    """

    a: str
    b: str
    identity: list[Change]
    dataset: list[Change]
    level_shapes: list[Change]
    only_a: list[str]
    only_b: list[str]
    samples: list[SampleChange]
    features: dict[str, list[str]]
    compared: int
    uncompared: int

    @property
    def same(self) -> bool:
        """Whether no difference was found; what could not be compared does not count."""
        records = self.identity, self.dataset, self.level_shapes
        samples = self.only_a, self.only_b, self.samples, self.features
        return not any((*records, *samples))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"same": self.same, **asdict(self)}


def diff_stores(a: Store, b: Store) -> Difference:
    """Compare two stores by their records; raises StoreError where one cannot be read."""
    before, after = _read_table(a), _read_table(b)
    shared = before.index.intersection(after.index, sort=False)
    features, compared = _compare_features(a, b)
    readable = (before.loc[shared, "status"] == "ok") & (after.loc[shared, "status"] == "ok")
    return Difference(
        a=a.location,
        b=b.location,
        identity=_list_changes(asdict(a.identity), asdict(b.identity)),
        dataset=_list_changes(asdict(a.dataset), asdict(b.dataset)),
        level_shapes=_list_changes(a.layout.level_shapes, b.layout.level_shapes),
        only_a=list(before.index.difference(after.index, sort=False)),
        only_b=list(after.index.difference(before.index, sort=False)),
        samples=_list_sample_changes(before.loc[shared], after.loc[shared]),
        features=features,
        compared=compared,
        uncompared=int(readable.sum()) - compared,
    )


def _read_table(store: Store) -> pd.DataFrame:
    """A store's samples by id, with class names for labels."""
    samples = store.samples
    if samples["id"].duplicated().any():
        raise StoreError(
            f"{store.location} has repeated ids: run samcache cache verify to list them"
        )
    classes = np.array([*store.dataset.classes, ""], object)  # the last for NO_LABEL
    return samples.assign(label=classes[samples["label"].to_numpy()]).set_index("id")


def _list_changes(a: dict[str, Any], b: dict[str, Any]) -> list[Change]:
    names = dict.fromkeys([*a, *b])
    return [Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def _list_sample_changes(before: pd.DataFrame, after: pd.DataFrame) -> list[SampleChange]:
    """Fields that differ, of tables with the same index."""
    found = []
    kept = dict.fromkeys(name for table in (before, after) for name in list_kept(table))
    before, after = (
        table.assign(**{name: "" for name in kept if name not in table})
        for table in (before, after)
    )
    for name in ("label", "split", "group", *kept, "sha256", "status"):
        old, new = before[name].to_numpy(), after[name].to_numpy()
        differs = old != new
        if name == "sha256":  # "" means unknown: the status has the reason
            differs &= (old != "") & (new != "")
        found += [
            SampleChange(str(before.index[int(row)]), name, str(old[row]), str(new[row]))
            for row in np.flatnonzero(differs)
        ]
    return found


def _compare_features(a: Store, b: Store) -> tuple[dict[str, list[str]], int]:
    """Ids in shards whose objects differ, by array, and how many samples could be compared."""
    differing: dict[str, list[str]] = {}
    compared = 0
    if a.rows_per_shard != b.rows_per_shard or a.arrays != b.arrays:
        return differing, compared
    theirs = _group_readable(b)
    for shard, ids in _group_readable(a).items():
        if shard in theirs and ids.equals(theirs[shard]):
            old, new = a.commits[shard], b.commits[shard]
            paths = [
                path
                for path, spec in a.arrays.items()
                if old.objects[spec.make_key(shard)] != new.objects[spec.make_key(shard)]
            ]
            if paths and not (_holds_only(a, old, ids) and _holds_only(b, new, ids)):
                continue
            compared += len(ids)
            for path in paths:
                differing.setdefault(path, []).extend(ids)
    return differing, compared


def _group_readable(store: Store) -> "dict[int, pd.Series[str]]":
    """Shard -> ids of its samples with data, by row."""
    readable = store.samples[store.samples["status"] == "ok"].set_index("row")["id"]
    groups = readable.groupby(readable.index.to_numpy() // store.rows_per_shard)
    return {int(shard): ids for shard, ids in groups}  # type: ignore[call-overload]


def _holds_only(store: Store, commit: Commit, ids: Sized) -> bool:
    """Whether a shard has the data of these samples alone, and of none that was dropped."""
    return int(commit.mark_present(store.rows_per_shard).sum()) == len(ids)
