"""MedMNIST's data sets by name, downloaded once by the medmnist package's addresses and hashes."""

from pathlib import Path

from samcache.cache.errors import SourceError
from samcache.extract.sources.arrays.npz import NpzSource, open_npz

PREFIX = "medmnist:"
_SIZES = (28, 64, 128, 224)


def open_medmnist(name: str, no_labels: bool = False) -> NpzSource:
    """Open ``medmnist:NAME`` or ``medmnist:NAME@SIZE``, from ``~/.medmnist`` or the network.

    The file's MD5 is the package's; a file that differs is downloaded again. Classes get their
    names. Raises SourceError for names and sizes that do not exist, 3D sets, and where nothing can
    be downloaded.
    """
    try:
        from medmnist import INFO
        from torchvision.datasets.utils import check_integrity, download_url
    except ImportError:
        raise SourceError(
            "a medmnist: source needs the package medmnist: "
            "pip install 'samcache[medmnist]', or give the .npz file"
        ) from None
    flag, _, size = name.removeprefix(PREFIX).partition("@")
    _check_name(flag, size or "28", INFO)
    suffix = "" if size in ("", "28") else f"_{size}"
    info, folder = INFO[flag], Path.home() / ".medmnist"
    path = folder / f"{flag}{suffix}.npz"
    if not check_integrity(str(path), info[f"MD5{suffix}"]):
        try:
            download_url(info[f"url{suffix}"], str(folder), path.name, info[f"MD5{suffix}"])
        except (OSError, RuntimeError) as error:
            raise SourceError(
                f"cannot download {path.name} ({error}): get it from {info[f'url{suffix}']}, and "
                "give the file instead of its name"
            ) from None
    source = open_npz(path, no_labels)
    names = tuple(str(info["label"][label]) for label in source.classes)
    return source.with_classes(names) if names else source


def _check_name(flag: str, size: str, known: dict[str, dict[str, str]]) -> None:
    usable = sorted(name for name in known if not name.endswith("3d"))
    if flag not in usable:
        raise SourceError(f"{PREFIX}{flag} is not there; expected one of {', '.join(usable)}")
    if size not in map(str, _SIZES):
        raise SourceError(f"{PREFIX}{flag}@{size}: sizes are {', '.join(map(str, _SIZES))}")
