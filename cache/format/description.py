"""The root record of a store: identity, data set, shapes, first table; and its copy."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from samcache.cache.errors import NoStoreError, StoreError, UnfinishedError
from samcache.cache.files.typed_json import Classes, Extent, Text, check_plain, convert
from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import Layout, check_extents
from samcache.cache.format.records import seal, unseal
from samcache.cache.format.samples import Generation, check_generation
from samcache.cache.objects.base import LARGEST_RECORD, Objects
from samcache.cache.objects.place_kind import describe_store_instead

ROOT = "zarr.json"
SPARE = "commits/zarr.json"  # created first: of several creators, the first decides
CLAIMS = "claims"  # the folder of claims (cache/claims.py)
BEGUN = f"{CLAIMS}/zarr.json"  # the first object of a store that is being created
DRAWN = "drawn: "  # how the origin of a split begins that the source does not have


@dataclass(frozen=True)
class Dataset:
    """What the store was made from."""

    name: Text
    classes: Classes  # class names; a sample's label indexes them; () where there are no labels
    split_origin: Text  # "source", or how the split was drawn


@dataclass(frozen=True)
class Description:
    """Everything about a store that never changes; provenance changes no number."""

    identity: Identity
    dataset: Dataset
    rows_per_shard: Extent
    level_shapes: dict[Text, tuple[Extent, Extent, Extent]]  # level -> (C, h, w) as cached
    provenance: dict[str, Any] = field(default_factory=dict)
    table: Generation | None = None  # the first; None in older stores

    def make_layout(self, rows: int) -> Layout:
        """The layout for so many rows; raises StoreError where no honest store has it."""
        layout = Layout(rows, self.rows_per_shard, self.level_shapes)
        check_extents(layout, self.identity)
        return layout

    def to_bytes(self) -> bytes:
        """The sealed record."""
        content = {**asdict(self), "fingerprint": self.identity.compute_fingerprint()}
        if self.table is None:
            del content["table"]
        else:
            content["table"] = self.table.to_json()
        return seal(content)


def read_description(objects: Objects, key: str = ROOT) -> Description:
    """Read a store's root record, or its spare; raises StoreError where it is no samcache store.

    Raises UnfinishedError where a store is being created, or its creation was interrupted.
    """
    data = objects.find(key, LARGEST_RECORD)
    if data is None:
        _refuse_unfinished(objects)
        raise NoStoreError(f"no store at {objects.name}: {describe_store_instead(objects.name)}")
    try:
        value = unseal(data)
    except ValueError as error:
        raise StoreError(
            f"{objects.name} is not a samcache store, or its {key} is damaged ({error}): "
            "samcache cache repair restores a damaged one"
        ) from None
    identity = Identity.from_json(value.get("identity"))
    if value.get("fingerprint") != identity.compute_fingerprint():
        raise StoreError(f"{objects.name}: fingerprint and identity disagree: it is damaged")
    description = _parse(value, objects.name)
    description.make_layout(0)
    return description


def _refuse_unfinished(objects: Objects) -> None:
    """Raise UnfinishedError where only the root record is missing, which creation writes last."""
    begun = objects.listable and objects.find_size(BEGUN) is not None
    if begun and not objects.list_children("commits")[0]:  # else a store has lost it
        raise UnfinishedError(
            f"no store at {objects.name} yet: its creation was interrupted, or is under way: run "
            "the same command again"
        )


def _parse(value: dict[str, Any], name: str) -> Description:
    try:
        check_plain(value.get("provenance"))
        found = convert(value, Description)
        levels = found.identity.levels
        if set(levels) != set(found.level_shapes) or len(set(levels)) < len(levels):
            raise ValueError("level_shapes: expected a shape for each level of the identity")
        if found.table is not None:
            check_generation(found.table)
    except ValueError as error:
        raise StoreError(f"{name}: the root record is damaged ({error})") from None
    return replace(found, level_shapes={level: found.level_shapes[level] for level in levels})
