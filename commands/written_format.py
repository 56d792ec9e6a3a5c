"""Refuse output names whose suffix stands for a format that the command does not write."""

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
    """Raise ConfigError if the suffix of ``path`` stands for a format that is not written.

    what: the output in words. suffixes: the suffixes of its format. strict: whether other suffixes
    are refused even if they stand for no known format. Existing folders are accepted.
    """
    suffix = Path(path).suffix.lower()
    fits = suffix in suffixes if strict else suffix in suffixes or suffix not in _FORMATS
    if fits or Path(path).is_dir():
        return
    wanted = f"a name that ends in {' or '.join(suffixes)}" if suffixes else "a name without suffix"
    raise ConfigError(
        f"{path}: expected {wanted}, found {suffix or 'no suffix'}: the command writes {what}; "
        "use another name"
    )
