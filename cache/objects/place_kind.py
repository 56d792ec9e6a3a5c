"""Tell stores, runs and other files apart, by their content."""

from pathlib import Path

from samcache.cache.files.regular_file import read_regular
from samcache.cache.files.typed_json import parse_json
from samcache.cache.objects.base import LARGEST_RECORD

_RUN_OPTIONS = "config.json"


def is_store(path: Path) -> bool:
    """Whether a folder holds a store, sound or damaged; other Zarr groups are no stores.

    Raises PermissionError where the folder may not be read.
    """
    try:
        return names_samcache(read_regular(path / "zarr.json", LARGEST_RECORD))
    except PermissionError:
        raise
    except OSError:
        return False
    except ValueError:
        return True


def names_samcache(data: bytes) -> bool:
    """Whether a ``zarr.json`` is a store's root record; raises ValueError where it is damaged."""
    value = parse_json(data)
    attributes = value.get("attributes") if isinstance(value, dict) else None
    return isinstance(attributes, dict) and isinstance(attributes.get("samcache"), dict)


def is_run(path: Path) -> bool:
    """Whether a folder holds a finished run.

    Other programs also name their files config.json and results.json: the content decides.
    """
    try:
        config = parse_json(read_regular(path / _RUN_OPTIONS, LARGEST_RECORD))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"fingerprint", "identity"} <= config.keys()


def describe_store_instead(location: str) -> str:
    """The message for a location without a store: what is there, and what to give."""
    path = Path(location)
    if is_run(path):
        return "a run folder is there: give the store that it was trained on; config.json names it"
    if path.is_file():
        return "a file is there: give a store, which is a folder that samcache extract writes"
    if path.is_dir():
        return "a folder without a store is there: run samcache extract first, or check the path"
    if is_store(path.with_name(f"{path.name}.zarr")):
        return f"did you mean {path}.zarr?"
    return "run samcache extract first, or check the path"
