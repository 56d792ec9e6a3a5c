"""The extras of the package: what each is for, and whether it is installed."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

PURPOSES = {
    "medmnist": "MedMNIST by name, as a source",
    "onnx": "export --format onnx",
    "parquet": "Parquet manifests",
    "sweep": "samcache sweep",
    "tensorboard": "train --tensorboard",
}


def find_extras() -> Iterator[tuple[str, str]]:
    """Each extra, and what is installed for its purpose, or how to install it."""
    for extra, purpose in PURPOSES.items():
        wanted = required_packages(extra)
        found = {package.name: _installed(package) for package in wanted}
        if all(found.values()):
            packages = ", ".join(f"{name} {number}" for name, number in found.items())
            yield extra, f"{purpose}: {packages}"
        else:
            yield extra, f"{purpose}: not installed; pip install 'samcache[{extra}]'"


def required_packages(extra: str) -> list[Requirement]:
    """The packages that an extra adds to the default installation."""
    wanted = [Requirement(text) for text in requires("samcache") or []]
    return [
        package
        for package in wanted
        if package.marker is not None and package.marker.evaluate({"extra": extra})
    ]


def _installed(package: Requirement) -> str:
    """The version that is installed; "" where there is none, or another than is asked for."""
    try:
        found = version(package.name)
    except PackageNotFoundError:
        return ""
    return found if package.specifier.contains(found, prereleases=True) else ""
