"""Names of what a command writes: a suffix must not promise another format."""

from __future__ import annotations

from pathlib import Path

from samcache.cache.errors import ConfigError

HDF5 = (".h5", ".hdf5")
STORE_SUFFIXES = (".zarr",)
FOLDER = ()
CSV = (".csv", ".txt")
HTML = (".html", ".htm")
JSON = (".json",)

_FORMATS = {
    *HDF5,
    *STORE_SUFFIXES,
    *CSV,
    *JSON,
    *HTML,
    ".jsonl",
    ".tsv",
    ".parquet",
    ".xlsx",
    ".xls",
    ".feather",
}
_FORMATS |= {".npz", ".npy", ".pkl", ".pt", ".pt2", ".pth", ".onnx", ".safetensors"}
_FORMATS |= {".zip", ".tar", ".gz", ".pdf", ".png", ".jpg", ".jpeg", ".svg"}


def refuse_other_format(
    path: str | Path, what: str, suffixes: tuple[str, ...], strict: bool = False
) -> None:
    """Raise ConfigError where the suffix of a name stands for another format than is written.

    what: what is written, in words. suffixes: those that stand for it. strict: whether no other
    suffix will do. A folder that is there is taken as it is.
    """
    suffix = Path(path).suffix.lower()
    fits = suffix in suffixes if strict else suffix in suffixes or suffix not in _FORMATS
    if fits or Path(path).is_dir():
        return
    wanted = f"a name that ends in {' or '.join(suffixes)}" if suffixes else "a name without suffix"
    raise ConfigError(
        f"{path}: expected {wanted}, found {suffix or 'no suffix'}: {what} is written; give "
        "another name"
    )
