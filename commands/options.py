"""What commands share: types of options, groups of options, exit codes.

Heavy imports are inside functions, so that ``--help`` is fast.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samcache.cache.files.typed_fields import FieldKind, read_field
from samcache.cache.format import pixel_options
from samcache.cache.text import count_nouns
from samcache.extract.sources.options import SourceOptions


class At(click.IntRange):
    """A whole number of at least ``min``: At(16) accepts 16 and more."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            int(value)
        except ValueError:
            self.fail(f"{value!r} should be a whole number, such as {self.min or 1}", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number


class Share(click.FloatRange):
    """A finite number in a range, such as Share(0, 1)."""

    name = "x"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} should be a number, such as 0.001 or 1e-3", param, ctx)
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} should be a finite number", param, ctx)
        return number


Positive = Share(min=0, min_open=True)

EXIT_DAMAGED = 1  # ``cache verify`` found damage, or ``cache diff`` a difference
EXIT_UNREADABLE = 3  # success, but some images could not be read
GIVE_STORE = "give it with --store"

option = functools.partial(click.option, show_default=True)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
_DEVICE = re.compile(r"(cpu|cuda|mps)(:[0-9]{1,4})?")
_DOCTOR = "samcache doctor lists the devices"
FilePath = functools.partial(click.Path, path_type=Path)


class CommaList(click.ParamType[tuple[Any, ...]]):
    """Comma-separated values of one type, such as ``0,1,2``."""

    name = "a,b,…"

    def __init__(self, item: type[int | float | str] = str) -> None:
        self.item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            kind = {int: "whole numbers, such as 0,1,2", float: "numbers, such as 0.1,0.5,1"}
            self.fail(f"{value!r} should be {kind[self.item]}", param, ctx)


class AutoOr(click.ParamType[int | None]):
    """A whole number from 1, or "auto", which becomes None."""

    name = "auto|n"
    none = "auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value == "auto":
            return None
        try:
            return At(1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} should be auto or a whole number from 1", param, ctx)


class Window(click.ParamType[tuple[float, float]]):
    """An intensity window as CENTER,WIDTH; becomes its lowest and highest value."""

    name = "center,width"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        try:
            center, width = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} should be two numbers such as 40,400", param, ctx)
        if not (0 < width < math.inf and math.isfinite(center)):
            self.fail(f"{value!r}: the width should be above 0, and both be finite", param, ctx)
        return center - width / 2, center + width / 2


class Device(click.ParamType[str]):
    """A torch device; "auto" is this process's GPU, or the CPU if torch finds no GPU.

    keep_auto: leave "auto" to the command.
    """

    name = "device"

    def __init__(self, keep_auto: bool = False) -> None:
        self.keep_auto = keep_auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "auto" and self.keep_auto:
            return str(value)
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if value == "auto":
            return "cuda" if gpus else "cpu"
        kind, _, number = str(value).partition(":")
        if not _DEVICE.fullmatch(str(value)):
            self.fail(
                f"{value!r} should be auto, cpu, cuda, mps, or a GPU such as cuda:1", param, ctx
            )
        there = {"cpu": True, "cuda": gpus > 0, "mps": torch.backends.mps.is_available()}
        if not there[kind]:
            self.fail(f"torch finds no {kind} here: use auto or cpu; {_DOCTOR}", param, ctx)
        if int(number or 0) >= max(gpus, 1):
            found = count_nouns(gpus, "GPU") + ", counted from cuda:0" if gpus else "one device"
            self.fail(f"{value} does not exist: this machine has {found}", param, ctx)
        return str(value)


def make_option(
    options: type, field: str, *names: str, help: str | None = None, type: Any = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that sets a field of an options dataclass, whose default and limits it takes.

    names: the option's, where it is not called as the field is. type: a click type, where the
    field's annotation does not say enough.
    """
    kind = read_field(options, field)
    flag = field.replace("_", "-")
    if kind.value is bool and kind.default:
        return option(*(names or (f"--{flag}/--no-{flag}",)), default=True, help=help)
    if kind.value is bool:
        return option(*(names or (f"--{flag}",)), is_flag=True, default=False, help=help)
    chosen = type or _make_type(kind)
    default = kind.default
    if default is None:
        default = getattr(chosen, "none", None)
    elif isinstance(default, tuple):
        default = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in default)
    return option(
        *(names or (f"--{flag}",)),
        type=chosen,
        default=None if default == "" else default,
        help=help,
    )


def _make_type(kind: FieldKind) -> Any:
    """The click type of a field."""
    if kind.choices:
        return click.Choice(kind.choices)
    if kind.value is tuple:
        return CommaList(kind.item)
    if kind.value is Path:
        return FilePath()
    if kind.value not in (int, float):
        return kind.value
    bounds = kind.bounds
    limits: dict[str, Any] = {
        "min": bounds.ge if bounds.gt is None else bounds.gt,
        "min_open": bounds.gt is not None,
        "max": bounds.le if bounds.lt is None else bounds.lt,
        "max_open": bounds.lt is not None,
    }
    return (At if kind.value is int else Share)(**limits)


FRAMES = click.Choice(pixel_options.FRAMES)

_SOURCE_OPTIONS = {
    "root": option(
        "--root",
        type=FilePath(),
        help="Manifest: folder that file names start from.  [default: its folder]",
    ),
    "label": option(
        "--label-column", "label", help="Manifest column with the class.  [default: class or label]"
    ),
    "no_labels": option(
        "--no-labels", is_flag=True, help="Read no labels, also where folders could be classes."
    ),
    "group": option(
        "--group-column",
        "group",
        help="Manifest column with the patient or lesion, or none.  [default: DICOM's]",
    ),
    "frames": option(
        "--frames",
        type=FRAMES,
        help="Frames to use from multi-frame DICOM.  [default: as recorded, else first]",
    ),
    "images_key": option(
        "--x", "images_key", help="HDF5 array with the images.  [default: as recorded, else x]"
    ),
    "labels_key": option(
        "--y", "labels_key", default=SourceOptions.labels_key, help="HDF5 array with the labels."
    ),
    "follow_links": option(
        "--follow-links", is_flag=True, help="Read files that links outside the folder point to."
    ),
    "split_seed": option(
        "--split-seed",
        type=At(0),
        default=SourceOptions.split_seed,
        help="Seed for drawing a split if the source has none.",
    ),
}


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to read a source, as one argument ``reading``."""
    return _with_reading(command, tuple(_SOURCE_OPTIONS))


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of ``source_options`` that say where a source's images are."""
    return _with_reading(command, ("root", "frames", "images_key", "labels_key", "follow_links"))


def _with_reading(command: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_reading(**options: Any) -> Any:
        return command(reading={name: options.pop(name) for name in names}, **options)

    decorated: Callable[..., Any] = with_reading
    for name in reversed(names):
        decorated = _SOURCE_OPTIONS[name](decorated)
    return option(
        "--hash-ids", is_flag=True, help="Replace ids by keyed hashes (key in SAMCACHE_ID_KEY)."
    )(decorated)
