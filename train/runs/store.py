"""Find the store that a run was trained from: where it was, or at its path from the run folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samcache.cache.errors import ConfigError, NoStoreError, SamcacheError, StoreError
from samcache.cache.objects.location import is_remote
from samcache.cache.progress import OnRemark, Remark, ignore_remark
from samcache.cache.store import Store
from samcache.cache.text import count_are
from samcache.train.data.joined_store import JoinedStore
from samcache.train.runs.run import Run
from samcache.train.runs.used_stores import STORE_FROM_RUN, UsedStore

GIVE_STORES = "extract the images with the settings of each store, and give the new stores"
_DEEP = Path("/" + "d/" * 256)  # the folder of a command whose relative paths are compared


def open_run_store(run: Run, asked: str | None = None) -> Store:
    """Open the store that a run was trained from, for whose samples the run has predictions.

    Several stores are joined. asked: where the one store is; None looks in the recorded places.
    Raises StoreError with every place and what was found there, ConfigError where ``asked`` is
    another store, or where the run's list of seen images is damaged.
    """
    seen, used = run.seen, run.used_stores
    if asked is not None:
        if len(used) > 1:
            raise ConfigError(
                f"{run.folder} was trained from {len(used)} stores, and finds them where they were "
                "or at their paths from the run: put them there, and name no store",
                hint="store",
            )
        return _open_own(run, asked, seen, used[0])
    stores = [_find_own(run, seen, each) for each in used]
    return stores[0] if len(used) == 1 else JoinedStore([each.name for each in used], stores)


def _find_own(run: Run, seen: set[str], used: UsedStore) -> Store:
    """Open one store of a run where it was, or at its path from the run folder."""
    folder, found = run.folder, []
    for place in list_recorded_places(folder, used.place):
        try:
            return _open_own(run, place, seen, used)
        except NoStoreError:
            found.append(f"{place} (no store)")
        except (SamcacheError, OSError, ValueError) as error:
            found.append(f"{place} ({' '.join(str(error).split())})")
    raise StoreError(f"the store of {folder} was not found; looked at {' and '.join(found)}")


def list_recorded_places(folder: Path, config: dict[str, Any]) -> list[str]:
    """Where a run's store may be: as recorded, then by its path from the run folder.

    Older runs do not record that path. It follows from the paths of store and run, if both are
    relative or both are absolute.
    """
    store, out = config["store"], config.get("out")
    places = [store]
    if is_remote(store):
        return places
    beside = config.get(STORE_FROM_RUN)
    if beside is None and out and Path(store).is_absolute() == Path(out).is_absolute():
        beside = os.path.relpath(_DEEP / store, _DEEP / out)
    if beside is not None and not is_remote(beside) and not Path(beside).is_absolute():
        places.append(os.path.normpath(folder.resolve() / beside))
    same = [os.path.realpath(place) for place in places]
    return [place for number, place in enumerate(places) if same[number] not in same[:number]]


def open_stores_of_features(
    run: Run, locations: Sequence[str | Path], on_remark: OnRemark = ignore_remark
) -> Store:
    """Open stores with the features of a run: one, or the run's several, joined.

    Several are matched with the run's by their identity, and by their order where it is equal. The
    caller checks the features. Raises ConfigError for another number of stores.
    """
    used, stores = run.used_stores, [Store(location) for location in locations]
    check_count(run, len(stores))
    if len(stores) == 1:
        return stores[0]
    ordered: list[Store] = []
    for each in used:
        left = [store for store in stores if store not in ordered]
        same = (store for store in left if not each.list_differences(store))
        ordered.append(next(same, left[0]))
    joined = JoinedStore([each.name for each in used], ordered)
    on_remark(Remark(joined.describe_join()))
    return joined


def check_count(run: Run, count: int) -> None:
    """Raise ConfigError where a run was trained from another number of stores."""
    names = [used.name for used in run.used_stores]
    if len(names) == count:
        return
    if len(names) == 1:
        raise ConfigError(f"{run.folder} was trained from 1 store, {count} are given: give one")
    raise ConfigError(
        f"{run.folder} was trained from {len(names)} stores, {', '.join(names)}, and "
        f"{count_are(count, 'store')} given: give a store of the same features for each"
    )


def refuse_several_stores(run: Run, advice: str) -> None:
    """Raise ConfigError, with what to do, where a run was trained from several stores."""
    if len(run.used_stores) > 1:
        names = ", ".join(used.name for used in run.used_stores)
        raise ConfigError(
            f"{run.folder} was trained from {len(run.used_stores)} stores ({names}), and one was "
            f"expected: {advice}"
        )


def _open_own(run: Run, location: str, seen: set[str], used: UsedStore) -> Store:
    """Open a store; raises ConfigError where the run was trained from another.

    seen: SHA-256 of the images that the run was trained on.
    """
    store = Store(location)
    if store.fingerprint != (used.fingerprint or run.read_option("fingerprint")):
        raise ConfigError(
            f"{location} holds other features than those that {run.folder} was trained from: give "
            "the run's own store"
        )
    # the same features may be another data set's
    if not seen <= set(store.samples["sha256"]):
        raise ConfigError(
            f"{location} lacks images that {run.folder} was trained on: give the run's own store"
        )
    return store
