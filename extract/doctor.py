"""``samcache doctor``: what this machine has, and what to do about what it lacks."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from samcache.cache.care.stage import stage_root
from samcache.cache.errors import SamcacheError
from samcache.cache.files.digest import file_sha256
from samcache.cache.objects.location import open_objects
from samcache.cache.text import count_nouns
from samcache.extract.encoders.precision import multiplies_bfloat16
from samcache.extract.encoders.weights import OFFICIAL, name_by_hash
from samcache.extract.extras import find_extras

_LITTLE_MEMORY = 8e9  # bytes; ViT-H in float32 takes 2.6e9 before its activations
_LITTLE_DISK = 20e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do where that is not enough."""

    subject: str
    found: str
    advice: str = ""  # empty where all is well

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.advice

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {**asdict(self), "ok": self.ok}


def examine(checkpoints: tuple[Path, ...], stores: tuple[str, ...]) -> list[Finding]:
    """Look at packages, extras, processor, devices, disk, checkpoint files and stores."""
    return [
        *_packages(),
        *(Finding(f"extra {name}", found) for name, found in find_extras()),
        _memory(),
        *_devices(),
        *_disks(),
        *_checkpoints(checkpoints),
        *(_store(location) for location in stores),
    ]


def render(findings: list[Finding]) -> Table:
    """The findings as a table, with what to do below each that needs it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in findings:
        state = "[green]ok[/green]" if one.ok else "[red]look[/red]"
        table.add_row(state, escape(one.subject), escape(one.found))
        if one.advice:
            table.add_row("", "", f"[bold]{escape(one.advice)}[/bold]")
    return table


def _packages() -> Iterator[Finding]:
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


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fast = ", fast bfloat16" if multiplies_bfloat16(torch.device("cpu")) else ""
    found = f"{count_nouns(os.cpu_count() or 1, 'core')}, {decimal(total)} memory{fast}"
    little = "extract with --batch-size 1, and vit_t or vit_b" if total < _LITTLE_MEMORY else ""
    return Finding("processor", found, little)


def _devices() -> Iterator[Finding]:
    """Each GPU, or that there is none: which is no fault, only slow."""
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        fast = "bfloat16" if properties.major >= 8 else "no fast bfloat16"
        found = f"{properties.name}, {decimal(properties.total_memory)}, {fast}"
        yield Finding(f"cuda:{number}", found)
    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")
    elif not torch.cuda.is_available():
        yield Finding("GPU", "none: extraction runs on the processor, seconds an image")


def _disks() -> Iterator[Finding]:
    """Room where checkpoints and staged stores go, and here."""
    for subject, folder in {
        "checkpoints": Path(torch.hub.get_dir()),
        "staged stores": stage_root(),
        "this folder": Path.cwd(),
    }.items():
        standing = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(standing).free
        little = "free some, or set TORCH_HOME or SAMCACHE_STAGE to a larger disk"
        yield Finding(
            subject, f"{decimal(free)} free in {folder}", little if free < _LITTLE_DISK else ""
        )


def _checkpoints(given: tuple[Path, ...]) -> Iterator[Finding]:
    """The official files in torch's folder, and the given ones, by their hash."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    standing = [folder / official.file for official in OFFICIAL.values()]
    for path in (*(path for path in standing if path.is_file()), *given):
        if not path.is_file():
            yield Finding(path.name, f"no file at {path}", "check the path")
            continue
        digest = file_sha256(path)
        if known := name_by_hash(digest):
            yield Finding(path.name, known)
        elif path in standing:
            yield Finding(path.name, f"SHA-256 {digest[:12]}…: damaged", f"delete {path}")
        else:
            yield Finding(path.name, f"SHA-256 {digest[:12]}…: not an official file")
    if not any(path.is_file() for path in standing):
        yield Finding("official files", f"none in {folder}: extract downloads what it needs")


def _store(location: str) -> Finding:
    """Whether a folder or bucket can be reached with the credentials at hand."""
    try:
        objects = open_objects(location)
        if objects.listable:
            prefixes, keys = objects.children("")
            return Finding(location, f"reached; {len(prefixes) + len(keys)} entries")
        objects.size("zarr.json")
        return Finding(location, "reached; a web server, for reading")
    except (SamcacheError, OSError) as error:
        return Finding(location, "not reached", " ".join(str(error).split()))
