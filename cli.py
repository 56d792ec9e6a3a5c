"""The command line: options become a frozen dataclass, one call does the work, errors are one line.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samcache.cache.errors import SamcacheError

EXIT_UNREADABLE = 3
EXIT_INTERRUPTED = 130

ENCODERS = ("vit_b", "vit_l", "vit_h", "vit_t", "vit_t_med")
LEVELS = ("patch", "early", "middle", "late", "neck")

_path = functools.partial(click.Path, path_type=Path)


class CommaList(click.ParamType[tuple[Any, ...]]):
    """Comma-separated values of one type, such as ``0,1,2``."""

    name = "a,b,…"

    def __init__(self, item: Callable[[str], Any] = str) -> None:
        self.item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part.strip()) for part in value.split(",") if part.strip())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Device(click.ParamType[str]):
    """A torch device; "auto" is the first GPU, or else the CPU."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import torch

        if value == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(1, device=value)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            self.fail(f"{value} cannot be used here ({str(error).splitlines()[0]})", param, ctx)
        return str(value)


class OneLineErrors(click.Group):
    """A group whose commands' errors reach the user as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SamcacheError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except OSError as error:  # no space, no permission, a path through a file
            raise click.ClickException(str(error)) from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="samcache")
def cli() -> None:
    """Encode images once with a frozen Segment Anything encoder, train classifiers many times.

    \b
    samcache extract  images -> store of features   (once, on a GPU node)
    samcache train    store -> classifier           (many times, anywhere)
    samcache cache    look at stores

    Exit status: 0 done, 1 an error (one line says which), 2 wrong usage, 3 done, but some images
    could not be read and are recorded in the store, 130 interrupted.
    """


@cli.command()
@click.argument("source", type=_path())
@click.option("--store", type=_path(), required=True, help="Zarr store to create or resume.")
@click.option(
    "--encoder",
    type=click.Choice(ENCODERS),
    required=True,
    help="SAM vit_b/l/h, MobileSAM vit_t, LiteMedSAM vit_t_med.",
)
@click.option(
    "--checkpoint",
    type=_path(),
    help="Weights; by default the official file, downloaded once and verified.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=16),
    help="Side of the encoder's input.  [default: the encoder's own, 1024 or 256]",
)
@click.option(
    "--preprocessing",
    type=click.Choice(["sam", "medsam"]),
    help="How images are normalised.  [default: medsam for vit_t_med, else sam]",
)
@click.option(
    "--levels",
    type=CommaList(),
    default=",".join(LEVELS),
    show_default=True,
    help="Levels to cache; block numbers may stand among them.",
)
@click.option(
    "--pool",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Average maps over P x P cells before caching.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Storage type of the features.",
)
@click.option(
    "--frame-size",
    type=click.IntRange(min=0),
    help="Side of the cached images; 0 caches none.  [default: at most 256]",
)
@click.option(
    "--device",
    type=Device(),
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1, mps.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--shard-rows",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images per shard, the unit of work that is committed or lost.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only about this many images, spread over splits and classes.",
)
@click.option(
    "--strict", is_flag=True, help="Stop at the first unreadable image instead of recording it."
)
@click.option(
    "--root",
    type=_path(),
    help="Manifest: folder its files start from.  [default: the manifest's own]",
)
@click.option("--label-column", help="Manifest: column of the class.  [default: class or label]")
@click.option("--group-column", help="Manifest: column of the patient or lesion.")
@click.option(
    "--split-seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the split drawn where the source has none.",
)
def extract(
    source: Path,
    root: Path | None,
    label_column: str | None,
    group_column: str | None,
    split_seed: int,
    shard_rows: int,
    **options: Any,
) -> None:
    """Encode SOURCE once and cache five levels of features in a store.

    SOURCE is a MedMNIST .npz, a CSV manifest (columns file, class, and optionally split) or a
    folder of class folders, with or without train/val/test folders above them. A second run
    encodes only what is not committed yet.

    \b
    samcache extract breastmnist.npz --store breast.zarr --encoder vit_t --image-size 512
    samcache extract labels.csv --root images --store isic.zarr --encoder vit_b --device cuda
    """
    from rich.console import Console

    from samcache.extract.file_sources import ManifestColumns
    from samcache.extract.run import ExtractOptions
    from samcache.extract.run import extract as run

    columns = ManifestColumns(label_column, group_column, root, split_seed)
    settings = ExtractOptions(source=source, columns=columns, rows_per_shard=shard_rows, **options)
    try:
        summary = run(settings, Console(stderr=True))
    except KeyboardInterrupt:
        click.echo("Interrupted: finished shards stand; run the same command again.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    click.echo(summary.text())
    if summary.unreadable:
        sys.exit(EXIT_UNREADABLE)


@cli.command()
@click.argument("store", type=_path())
@click.option("--out", type=_path(), required=True, help="Run folder to write.")
@click.option(
    "--attention",
    type=click.Choice(["slca", "none"]),
    default="slca",
    show_default=True,
    help="SLCA, or the same backbone without it.",
)
@click.option(
    "--backbone",
    default="resnet18",
    show_default=True,
    help="resnet18 to resnet152, swin_v2_t, swin_v2_s or swin_v2_b.",
)
@click.option(
    "--taps",
    type=CommaList(),
    help="LEVEL:STAGE pairs.  [default: patch:stem, early:stage1 … neck:stage4]",
)
@click.option(
    "--kernel",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="SLCA's pooling, in cells of the encoder's unpooled maps.",
)
@click.option(
    "--reduction",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="SLCA's channel reduction r.",
)
@click.option(
    "--fusion",
    type=click.Choice(["gate", "residual"]),
    default="gate",
    show_default=True,
    help="X*A, or X + X*A.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--seeds",
    type=CommaList(int),
    default="0,1,2",
    show_default=True,
    help="One training per seed.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=16),
    help="Side of the classifier's input.  [default: the cached images', at most 224]",
)
@click.option("--batch-size", type=click.IntRange(min=2), default=64, show_default=True)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="AdamW's peak learning rate.",
)
@click.option("--weight-decay", type=click.FloatRange(min=0), default=0.05, show_default=True)
@click.option(
    "--schedule", type=click.Choice(["onecycle", "cosine"]), default="onecycle", show_default=True
)
@click.option("--class-weights", is_flag=True, help="Weight the loss by inverse class frequency.")
@click.option(
    "--device",
    type=Device(),
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1, mps.",
)
@click.option("--overwrite", is_flag=True, help="Replace a finished run in the same folder.")
def train(**options: Any) -> None:
    """Train a classifier from STORE, once per seed, and test it.

    The epoch with the best validation AUC is tested. The run folder gets config.json, metrics.csv,
    predictions.csv, results.json and one safetensors file per seed.

    \b
    samcache train breast.zarr --out runs/slca --image-size 64
    samcache train breast.zarr --out runs/none --image-size 64 --attention none
    """
    from rich.console import Console

    from samcache.train.config import TrainConfig
    from samcache.train.run import train as run

    results = run(TrainConfig(**options), Console(stderr=True))
    click.echo(results.text())


@cli.group()
def cache() -> None:
    """Look at stores."""


@cache.command()
@click.argument("store", type=_path())
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def info(store: Path, as_json: bool) -> None:
    """Show what STORE holds and what it lacks.

    \b
    samcache cache info breast.zarr
    samcache cache info breast.zarr --json
    """
    from rich.console import Console

    from samcache.cache.info import describe, render
    from samcache.cache.store import Store

    description = describe(Store(store, "r"))
    if as_json:
        click.echo(json.dumps(description, indent=2))
    else:
        Console().print(render(description))


if __name__ == "__main__":
    cli()
