"""The stores that a run was trained from, as config.json records them."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from samcache.cache.format.identity import Identity
from samcache.cache.format.pixel_options import PROVENANCE, PixelOptions
from samcache.cache.objects.location import is_remote
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.joined_store import JoinedStore

STORES = "stores"  # of config.json, where a run has several
STORE_FROM_RUN = "store_from_run"  # of config.json: the path from the run folder to the store
_ONE_VIEW = ("identity",)


def find_path_from_run(store: str | Path, folder: Path) -> str | None:
    """The path from a run folder to a store, None for a store at a URL."""
    if is_remote(store):
        return None
    return os.path.relpath(Path(store).resolve(), folder.resolve())


@dataclass(frozen=True)
class UsedStore:
    """A store that a run was trained from.

    name: before its levels in the run, "" where the run has one store. place: the fields of
    config.json that say where the store is.
    """

    name: str
    place: dict[str, Any]
    fingerprint: str
    identity: Identity
    pixel_options: PixelOptions

    def list_differences(self, store: Store) -> list[str]:
        """How a store's features differ from these, a text a field.

        Further views do not matter: all predictions are made from the first.
        """
        found, wanted = (replace(i, views=_ONE_VIEW) for i in (store.identity, self.identity))
        return found.list_differences(wanted)


def read_used_stores(config: dict[str, Any]) -> tuple[UsedStore, ...]:
    """The stores in their order; raises KeyError or StoreError where a record is damaged."""
    return tuple(
        UsedStore(
            record.get("name", ""),
            {"out": config.get("out"), **record},
            record.get("fingerprint", ""),
            Identity.from_json(record["identity"]),
            PixelOptions.from_record(record) or PixelOptions(),
        )
        for record in config.get(STORES, [config])
    )


def describe_used_stores(config: TrainConfig, store: Store) -> dict[str, Any]:
    """What config.json records of several stores; nothing of one, which it describes itself."""
    if not isinstance(store, JoinedStore):
        return {}
    locations = (str(config.store), *config.more_stores)
    each = zip(store.names, locations, store.parts, strict=True)
    return {
        STORES: [
            {
                "name": name,
                "store": location,
                STORE_FROM_RUN: find_path_from_run(location, config.out),
                "fingerprint": part.fingerprint,
                "identity": asdict(part.identity),
                PROVENANCE: (PixelOptions.from_record(part.provenance) or PixelOptions()).to_json(),
            }
            for name, location, part in each
        ]
    }
