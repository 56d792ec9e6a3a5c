"""The command line: options become a frozen dataclass, one call does the work, errors are one line.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samcache.cache.commands import EXIT_DAMAGED, cache
from samcache.cache.errors import SamcacheError
from samcache.cache.options import At, BatchSize, CommaList, FilePath, Positive, Window, option
from samcache.extract.commands import doctor
from samcache.train.commands import compare, probe

if TYPE_CHECKING:
    from samcache.extract.file_sources import ManifestColumns
    from samcache.extract.run import ExtractOptions

EXIT_UNREADABLE = 3

ENCODERS = ("vit_b", "vit_l", "vit_h", "vit_t", "vit_t_med")
LEVELS = ("patch", "early", "middle", "late", "neck")

PREPROCESSING = click.Choice(["sam", "medsam"])
DTYPE = click.Choice(["float16", "float32"])
VIEWS = click.Choice(["identity", "flips", "dihedral"])
PRECISION = click.Choice(["auto", "float32", "bfloat16", "float16"])
ATTENTION = click.Choice(
    ["none", "slca", "shuffled", "random", "global", "per-location"]  # of train/controls.py
)
FUSION = click.Choice(["gate", "residual"])
RESIDENCY = click.Choice(["device", "memory", "disk"])
STEM = click.Choice(["standard", "small"])
SCHEDULE = click.Choice(["onecycle", "cosine"])


class Device(click.ParamType[str]):
    """A torch device; "auto" is a GPU, each local rank's own, or else the CPU."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import torch

        if value == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if value == "cuda" and torch.cuda.is_available():
            return "cuda"  # not tried here: every process would open the first GPU
        try:
            torch.empty(1, device=value)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            self.fail(f"{value} cannot be used here ({str(error).splitlines()[0]})", param, ctx)
        return str(value)


_SOURCE_OPTIONS = (
    option("--root", type=FilePath(), help="Manifest: where files start.  [default: its folder]"),
    option("--label-column", "label", help="Manifest: the class.  [default: class or label]"),
    option("--group-column", "group", help="Manifest: patient or lesion.  [default: DICOM's]"),
    option("--x", "images_key", default="x", help="HDF5: the array of images."),
    option("--y", "labels_key", default="y", help="HDF5: the array of labels."),
    option("--split-seed", type=int, default=0, help="Seed of a split the source does not have."),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to read a source, passed on together as ``columns``."""

    @functools.wraps(command)
    def with_columns(**options: Any) -> Any:
        names = ("root", "label", "group", "images_key", "labels_key", "split_seed")
        return command(columns={name: options.pop(name) for name in names}, **options)

    decorated: Callable[..., Any] = with_columns
    for decorate in reversed(_SOURCE_OPTIONS):
        decorated = decorate(decorated)
    return option("--hash-ids", is_flag=True, help="Keyed hashes for ids; key in SAMCACHE_ID_KEY.")(
        decorated
    )


_PROTOCOL_OPTIONS = (
    option("--seeds", type=CommaList(int), default="0,1,2", help="One training per seed."),
    option("--folds", type=At(2), help="Cross-validate over all samples, patients whole."),
    option(
        "--fractions", type=CommaList(float), default="1", help="Shares of the training samples."
    ),
    option("--ordered", is_flag=True, help="Classes are grades in order: quadratic kappa too."),
)


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which trainings make an experiment."""
    for decorate in reversed(_PROTOCOL_OPTIONS):
        command = decorate(command)
    return command


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
    samcache cache    look at stores, move them, keep them whole

    Exit status: 0 done, 1 an error (one line says which), 2 wrong usage, 3 done, but some images
    could not be read and are recorded in the store, 130 interrupted (Ctrl-C), 143 told to end
    (SIGTERM).
    """


@cli.command()
@click.argument("source", type=FilePath())
@option("--store", help="Zarr store to create or resume: a folder or a URL.  [required]")
@option("--encoder", type=click.Choice(ENCODERS), help="SAM, MobileSAM, LiteMedSAM.  [required]")
@option(
    "--checkpoint", type=FilePath(), help="Weights.  [default: the official file, downloaded once]"
)
@option("--image-size", type=At(16), help="Side of the encoder's input.  [default: its own]")
@option("--preprocessing", type=PREPROCESSING, help="[default: medsam for vit_t_med, else sam]")
@option("--levels", type=CommaList(), default=",".join(LEVELS), help="Names or block numbers.")
@option("--pool", type=At(1), default=4, help="Average maps over P x P cells before caching.")
@option("--dtype", type=DTYPE, default="float16", help="Storage type of the features.")
@option("--views", type=VIEWS, default="identity", help="Also cache flipped, turned images.")
@option("--precision", type=PRECISION, default="auto", help="auto: bfloat16 on GPUs that have it.")
@option("--frame-size", type=At(1), help="Side of the cached images.  [default: at most 256]")
@option("--no-images", is_flag=True, help="Cache features alone; train needs the images.")
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@option("--batch-size", type=BatchSize(), default="auto", help="Images at a time; auto: what fits.")
@option("--shard-rows", type=At(1), default=64, help="Images a shard, the unit of work.")
@option("--limit", type=At(1), help="Only so many images, spread over splits and classes.")
@option("--strict", is_flag=True, help="Stop at an unreadable image instead of recording it.")
@option("--prune", is_flag=True, help="Drop what left the source, encode anew what changed.")
@option("--reuse", multiple=True, help="Store to copy known images from; may be repeated.")
@option("--assume-unchanged", is_flag=True, help="Do not compare stored images with the source.")
@option("--plan", is_flag=True, help="Only tell what would be written and how long it takes.")
@option("--check", is_flag=True, help="Only read all images and tell what SOURCE holds.")
@option("--json", "as_json", is_flag=True, help="Plan or check as JSON.")
@option("--window", type=Window(), help="Shown of DICOM and deep grey.  [default: the image's own]")
@source_options
@option("--allow-split-groups", is_flag=True, help="Accept groups that stand in two splits.")
def extract(
    source: Path,
    columns: dict[str, Any],
    window: tuple[float, float] | None,
    no_images: bool,
    plan: bool,
    check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode SOURCE once and cache five levels of features in a store.

    SOURCE is a folder of class folders, with or without train/val/test folders above them, a
    manifest (.csv or .parquet: columns file, class, and optionally split), a MedMNIST .npz or
    medmnist:NAME@SIZE, or HDF5; images may be DICOM. A second run encodes only what is not
    committed yet, and what is new in the source. Any number of processes may work on one store;
    under torchrun and Slurm the shards are divided among the ranks.

    \b
    samcache extract breastmnist.npz --store breast.zarr --encoder vit_t --image-size 512
    samcache extract labels.csv --root images --store s3://team/isic.zarr --encoder vit_b
    torchrun --nproc-per-node 8 cli.py extract images --store team.zarr --encoder vit_h
    samcache extract images --store team.zarr --encoder vit_h --plan
    samcache extract dicom-folder --check
    """
    from samcache.extract.interruption import Interrupted, interruptible

    if no_images:
        options["frame_size"] = 0
    if as_json and not (plan or check):
        raise click.UsageError("--json goes with --plan and --check")
    for name in () if check else ("store", "encoder"):
        if options[name] is None:
            raise click.UsageError(f"Missing option '--{name}'.")
    try:
        with interruptible():
            from rich.console import Console

            from samcache.extract.file_sources import ManifestColumns
            from samcache.extract.run import ExtractOptions
            from samcache.extract.run import extract as run

            reading = ManifestColumns(**columns, window=window)
            if check:
                _tell_what_is_there(source, reading, as_json)
                return
            settings = ExtractOptions(source=source, columns=reading, **options)
            if plan:
                _tell_plan(settings, as_json)
                return
            summary = run(settings, Console(stderr=True))
    except Interrupted as stop:
        click.echo(
            f"Stopped by {stop}: finished shards stand; run the same command again to go on.",
            err=True,
        )
        sys.exit(128 + stop.number)
    click.echo(summary.text())
    if summary.unreadable:
        sys.exit(EXIT_UNREADABLE)


def _tell_plan(settings: ExtractOptions, as_json: bool) -> None:
    from samcache.extract.forecast import forecast

    planned = forecast(settings)
    text = json.dumps(planned.to_json(), indent=2) if as_json else planned.text(settings.prune)
    click.echo(text)


def _tell_what_is_there(source: Path, columns: ManifestColumns, as_json: bool) -> None:
    from rich.console import Console

    from samcache.extract.check import check_source
    from samcache.extract.open_source import open_source

    report = check_source(open_source(source, columns), Console(stderr=True))
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.text())
    if report.unreadable:
        sys.exit(EXIT_UNREADABLE)


@cli.command()
@click.argument("store")
@option("--out", type=FilePath(), required=True, help="Run folder to write.")
@option("--attention", type=ATTENTION, default="slca", help="SLCA, none, or a control of it.")
@option("--backbone", default="resnet18", help="resnet18 to 152, swin_v2_t, _s, _b, timm:NAME.")
@option("--pretrained", help="Weights: a file, or download.  [default: random]")
@option("--stem", type=STEM, default="standard", help="small: 3x3 stride 1 for small images.")
@option("--taps", type=CommaList(), help="LEVEL:STAGE or :MODULE.  [default: patch:stem …]")
@option("--kernel", type=At(1), default=4, help="SLCA's pooling, in the encoder's map cells.")
@option("--reduction", type=At(1), default=4, help="SLCA's channel reduction r.")
@option("--fusion", type=FUSION, default="gate", help="X*A, or X + X*A.")
@option("--epochs", type=At(1), default=30)
@protocol_options
@option("--image-size", type=At(16), help="Classifier's input.  [default: the cache's, up to 224]")
@option("--batch-size", type=At(2), default=64)
@option("--lr", type=Positive, default=1e-3, help="AdamW's peak learning rate.")
@option("--weight-decay", type=click.FloatRange(min=0), default=0.05)
@option("--schedule", type=SCHEDULE, default="onecycle")
@option("--class-weights", is_flag=True, help="Weight the loss by inverse class frequency.")
@option("--balanced-sampling", is_flag=True, help="Draw every class equally often.")
@option("--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0)
@option("--mixup", type=click.FloatRange(min=0), default=0.0, help="Alpha of mixup; 0 is off.")
@option("--patience", type=At(1), help="Stop after so many epochs without a better one.")
@option("--augment/--no-augment", default=True, help="Brightness, contrast, noise, erasing.")
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@option("--residency", type=RESIDENCY, help="Where the data lie.  [default: first with room]")
@option("--tensorboard", is_flag=True, help="Write events too (extra: tensorboard).")
@option("--overwrite", is_flag=True, help="Replace a finished run in the same folder.")
def train(**options: Any) -> None:
    """Train a classifier from STORE, once per seed, fold and fraction, and test it.

    A store at a URL is first brought to a local folder, once (SAMCACHE_STAGE, and
    SAMCACHE_STAGE_LIMIT for its size). The epoch with the best validation AUC is tested. The run
    folder gets config.json, metrics.csv, predictions.csv, results.json and one safetensors file
    per training. Intervals are bootstrapped over test samples (patients whole) and seeds.

    \b
    samcache train breast.zarr --out runs/slca --image-size 64
    samcache train breast.zarr --out runs/none --image-size 64 --attention none
    samcache train breast.zarr --out runs/curve --fractions 0.05,0.1,0.25,0.5,1
    samcache train breast.zarr --out runs/folds --folds 5
    """
    from rich.console import Console

    from samcache.train.config import TrainConfig
    from samcache.train.report import text
    from samcache.train.run import train as run

    try:
        results = run(TrainConfig(**options), Console(stderr=True))
    except KeyboardInterrupt:
        click.echo("Interrupted: the same command goes on after the last finished epoch.", err=True)
        sys.exit(128 + signal.SIGINT)
    click.echo(text(results))


for command in (probe, compare, doctor, cache):
    cli.add_command(command)


@cache.command()
@click.argument("store")
@option("--source", type=FilePath(), required=True, help="The images, as extract was given them.")
@option(
    "--checkpoint", type=FilePath(), help="Weights.  [default: the official file, downloaded once]"
)
@source_options
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@option("--batch-size", type=BatchSize(), default="auto", help="Images at a time; auto: what fits.")
def repair(store: str, columns: dict[str, Any], **options: Any) -> None:
    """Restore what is damaged in STORE.

    Encodes what is missing, too. Records come from their spare copies, the sample table from the
    source, features from the encoder: exactly the damaged rows, and only where the source still
    has the very same bytes.

    \b
    samcache cache repair breast.zarr --source breastmnist.npz
    """
    from rich.console import Console

    from samcache.extract.file_sources import ManifestColumns
    from samcache.extract.repair import RepairOptions
    from samcache.extract.repair import repair as run

    settings = RepairOptions(store=store, columns=ManifestColumns(**columns), **options)
    summary = run(settings, Console(stderr=True))
    click.echo(summary.text())
    if summary.left:
        sys.exit(EXIT_DAMAGED)


if __name__ == "__main__":
    cli()
