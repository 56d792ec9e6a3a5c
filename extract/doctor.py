"""``samcache doctor``: examine what this machine has, and advise on what it lacks."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from samcache.cache.care.stage import find_stage_root
from samcache.cache.errors import SamcacheError
from samcache.cache.files.digest import hash_file
from samcache.cache.objects.location import open_objects
from samcache.cache.text import count_nouns, describe_bytes
from samcache.extract.encoders.precision import multiplies_bfloat16
from samcache.extract.encoders.registry import list_architectures
from samcache.extract.encoders.weights import name_official_file

_LITTLE_MEMORY = 8e9  # bytes; ViT-H in float32 takes 2.6e9 before its activations
_LITTLE_DISK = 20e9

PURPOSES_OF_EXTRAS = {
    "medmnist": "MedMNIST by name, as a source",
    "onnx": "export to ONNX",
    "parquet": "Parquet manifests",
    "sweep": "samcache sweep",
    "tensorboard": "TensorBoard logs of train",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was examined: what was found, and what to do where that is not enough."""

    subject: str
    found: str
    advice: str = ""  # "" where nothing needs to be done

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.advice


def examine_machine(checkpoints: tuple[Path, ...], stores: tuple[str, ...]) -> list[Finding]:
    """Examine packages, extras, processor, devices, disk, checkpoint files and stores."""
    return [
        *_examine_packages(),
        *(Finding(f"extra {name}", found) for name, found in find_extras()),
        _examine_processor(),
        *_examine_devices(),
        *_examine_disks(),
        *_examine_checkpoints(checkpoints),
        *(_examine_store(location) for location in stores),
    ]


def find_extras() -> Iterator[tuple[str, str]]:
    """Each extra, and what is installed for its purpose, or how to install it."""
    for extra, purpose in PURPOSES_OF_EXTRAS.items():
        wanted = list_required_packages(extra)
        found = {package.name: _find_installed(package) for package in wanted}
        if all(found.values()):
            packages = ", ".join(f"{name} {number}" for name, number in found.items())
            yield extra, f"{purpose}: {packages}"
        else:
            yield extra, f"{purpose}: not installed; pip install 'samcache[{extra}]'"


def list_required_packages(extra: str) -> list[Requirement]:
    """The packages that an extra adds to the default installation."""
    wanted = [Requirement(text) for text in requires("samcache") or []]
    return [
        package
        for package in wanted
        if package.marker is not None and package.marker.evaluate({"extra": extra})
    ]


def _examine_packages() -> Iterator[Finding]:
    """Python, and each required package against the version that is asked for."""
    yield Finding("Python", f"{platform.python_version()} on {platform.system()}")
    for text in requires("samcache") or []:
        wanted = Requirement(text)
        if wanted.marker is not None:
            continue  # an extra's
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(wanted.name, "not installed", f"pip install '{wanted}'")
            continue
        fits = wanted.specifier.contains(found, prereleases=True)
        advice = "" if fits else f"pip install '{wanted}'"
        yield Finding(wanted.name, found, advice)


def _examine_processor() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fast = ", fast bfloat16" if multiplies_bfloat16(torch.device("cpu")) else ""
    found = f"{count_nouns(os.cpu_count() or 1, 'core')}, {describe_bytes(total)} memory{fast}"
    little = "extract in batches of 1 image, with vit_t or vit_b" if total < _LITTLE_MEMORY else ""
    return Finding("processor", found, little)


def _examine_devices() -> Iterator[Finding]:
    """Each GPU; a machine without one is slow, which is not a fault."""
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        fast = "bfloat16" if properties.major >= 8 else "no fast bfloat16"
        found = f"{properties.name}, {describe_bytes(properties.total_memory)}, {fast}"
        yield Finding(f"cuda:{number}", found)
    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")
    elif not torch.cuda.is_available():
        yield Finding("GPU", "none: extraction runs on the processor, in seconds an image")


def _examine_disks() -> Iterator[Finding]:
    """Free space for checkpoints and staged stores, and in the current folder."""
    for subject, folder in {
        "checkpoints": Path(torch.hub.get_dir()),
        "staged stores": find_stage_root(),
        "this folder": Path.cwd(),
    }.items():
        standing = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(standing).free
        little = "free some space, or set TORCH_HOME or SAMCACHE_STAGE to a larger disk"
        found = f"{describe_bytes(free)} free in {folder}"
        yield Finding(subject, found, little if free < _LITTLE_DISK else "")


def _examine_checkpoints(paths: tuple[Path, ...]) -> Iterator[Finding]:
    """The official files in torch's folder, and other files of weights, by their hash."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = [encoder.official.file for _, encoder in list_architectures() if encoder.official]
    standing = [folder / file for file in files]
    for path in (*(path for path in standing if path.is_file()), *paths):
        if not path.is_file():
            yield Finding(path.name, f"no file at {path}", "check the path")
            continue
        digest = hash_file(path)
        if known := name_official_file(digest):
            yield Finding(path.name, known)
        elif path in standing:
            yield Finding(path.name, f"SHA-256 {digest[:12]}…: damaged", f"delete {path}")
        else:
            yield Finding(path.name, f"SHA-256 {digest[:12]}…: not an official file")
    if not any(path.is_file() for path in standing):
        yield Finding("official files", f"none in {folder}: extract downloads what it needs")


def _examine_store(location: str) -> Finding:
    """Whether a folder or bucket can be reached with the credentials at hand."""
    try:
        objects = open_objects(location)
        if objects.listable:
            prefixes, keys = objects.list_children("")
            return Finding(location, f"reached; {len(prefixes) + len(keys)} entries")
        objects.find_size("zarr.json")
        return Finding(location, "reached; a web server, for reading")
    except (SamcacheError, OSError) as error:
        return Finding(location, "not reached", " ".join(str(error).split()))


def _find_installed(package: Requirement) -> str:
    """The version that is installed; "" where there is none, or another than is asked for."""
    try:
        found = version(package.name)
    except PackageNotFoundError:
        return ""
    return found if package.specifier.contains(found, prereleases=True) else ""
