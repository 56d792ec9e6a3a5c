"""From what a user names on the command line to a source."""

from pathlib import Path

from samcache.cache.errors import SourceError
from samcache.extract.file_sources import ManifestColumns, open_folder, open_manifest
from samcache.extract.npz_source import open_npz
from samcache.extract.sources import Source


def open_source(path: Path, columns: ManifestColumns) -> Source:
    """Open a MedMNIST ``.npz``, a ``.csv`` manifest or a folder of class folders.

    Raises SourceError where the path is missing or none of these.
    """
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}")
    if path.is_dir():
        return open_folder(path.resolve(), columns.split_seed)
    match path.suffix.lower():
        case ".npz":
            return open_npz(path)
        case ".csv":
            return open_manifest(path, columns)
        case suffix:
            raise SourceError(
                f"{path}: expected a .npz, a .csv manifest or a folder of class folders, "
                f"found {suffix or 'no suffix'!r}"
            )
