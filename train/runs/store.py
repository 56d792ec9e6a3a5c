"""Find the store that a run was trained from: where it was, or at its path from the run folder."""

import os
from pathlib import Path
from typing import Any

from samcache.cache.errors import ConfigError, NoStoreError, SamcacheError, StoreError
from samcache.cache.objects.location import is_remote
from samcache.cache.store import Store
from samcache.train.runs.run import Run

STORE_FROM_RUN = "store_from_run"  # of config.json: the path from the run folder to the store
_DEEP = Path("/" + "d/" * 256)  # the folder of a command whose relative paths are compared


def find_path_from_run(store: str | Path, folder: Path) -> str | None:
    """The path from a run folder to a store, None for a store at a URL."""
    if is_remote(store):
        return None
    return os.path.relpath(Path(store).resolve(), folder.resolve())


def open_run_store(run: Run, asked: str | None = None) -> Store:
    """Open the store that a run was trained from, for whose samples the run has predictions.

    asked: where it is; None looks in the recorded places. Raises StoreError with every place and
    what was found there, ConfigError where ``asked`` is another store, or where the run's list of
    seen images is damaged.
    """
    folder, seen = run.folder, run.seen
    if asked is not None:
        return _open_own(run, asked, seen)
    found = []
    for place in list_recorded_places(folder, run.config):
        try:
            return _open_own(run, place, seen)
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


def _open_own(run: Run, location: str, seen: set[str]) -> Store:
    """Open a store; raises ConfigError where the run was trained from another.

    seen: SHA-256 of the images that the run was trained on.
    """
    store = Store(location)
    if store.fingerprint != run.read_option("fingerprint"):
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
