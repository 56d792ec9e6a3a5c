"""``samcache extract``: images to a store of features.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samcache.commands.options import (
    EXIT_UNREADABLE,
    At,
    AutoOr,
    CommaList,
    Device,
    FilePath,
    Window,
    as_json_option,
    option,
    source_options,
)
from samcache.commands.show.tables import print_parts
from samcache.commands.terminal.group import console, next_for_store, remark, resumable
from samcache.commands.written_format import STORE_SUFFIXES, refuse_other_format
from samcache.extract.encoders.registry import ENCODERS, LEVELS

if TYPE_CHECKING:
    from samcache.extract.options import ExtractOptions
    from samcache.extract.sources.options import SourceOptions

_ABOUT_UNREADABLE = (
    f"exit status {EXIT_UNREADABLE}, because of unreadable images; if the store already records "
    "them, --accept-unreadable makes it 0"
)


class Encoder(click.Choice[str]):
    """An encoder by name; the error for a model's name says which encoder the model has."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        asked = re.sub("[^a-z]", "", str(value).lower())
        for name, entry in ENCODERS.items():
            if asked == entry.model.lower():
                self.fail(f"{value!r} is a model: its encoder is {name}", param, ctx)
        return super().convert(value, param, ctx)


PREPROCESSING = click.Choice(["sam", "medsam"])
DTYPE = click.Choice(["float16", "float32"])
VIEWS = click.Choice(["identity", "flips", "dihedral"])
PRECISION = click.Choice(["auto", "float32", "bfloat16", "float16"])


@click.command()
@click.argument("source", type=FilePath())
@option("--store", help="Zarr store to create or resume: a folder or a URL. --check works without.")
@option(
    "--encoder",
    type=Encoder(ENCODERS),
    help="vit_b, _l and _h are SAM, vit_t MobileSAM, vit_t_med LiteMedSAM. --check works without.",
)
@option(
    "--checkpoint", type=FilePath(), help="Weights.  [default: the official file, downloaded once]"
)
@option("--image-size", type=At(16), help="Side of the encoder's input.  [default: its own]")
@option("--preprocessing", type=PREPROCESSING, help="[default: medsam for vit_t_med, else sam]")
@option("--levels", type=CommaList(), default=",".join(LEVELS), help="Names or block numbers.")
@option("--pool", type=At(1), default=4, help="Average maps over P x P cells before caching.")
@option("--dtype", type=DTYPE, default="float16", help="Storage type of the features.")
@option("--views", type=VIEWS, default="identity", help="Also cache flipped, turned images.")
@option("--precision", type=PRECISION, default="auto", help="auto: bfloat16 where it is fast.")
@option("--frame-size", type=At(1, 4096), help="Side of the cached images.  [default: at most 256]")
@option("--no-images", is_flag=True, help="Cache features alone; train needs the images.")
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@option("--batch-size", type=AutoOr(), default="auto", help="Images a batch; auto: what fits.")
@option("--shard-rows", type=At(1, 65536), default=64, help="Images a shard, the unit of work.")
@option("--limit", type=At(1), help="Only so many images, spread over splits and classes.")
@option("--strict", is_flag=True, help="Stop at an unreadable image instead of recording it.")
@option(
    "--accept-unreadable",
    is_flag=True,
    help="Exit with 0, not 3, if the store already records each unreadable image.",
)
@option("--prune", is_flag=True, help="Drop what left the source, encode anew what changed.")
@option("--reuse", multiple=True, help="Store to copy known images from; may be repeated.")
@option("--assume-unchanged", is_flag=True, help="Do not compare stored images with the source.")
@option("--plan", is_flag=True, help="Only tell what would be written and how long it takes.")
@option("--check", is_flag=True, help="Only read all images and tell what SOURCE holds.")
@as_json_option
@option("--window", type=Window(), help="Shown of DICOM and deep grey.  [default: the image's own]")
@source_options
@option("--allow-split-groups", is_flag=True, help="Accept groups that stand in two splits.")
@resumable("finished shards stand; run the same command again to go on")
def extract(
    source: Path,
    reading: dict[str, Any],
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
    if plan and check:
        raise click.UsageError("--plan and --check exclude each other")
    if (plan or check) and options["accept_unreadable"]:
        raise click.UsageError("--accept-unreadable has no effect with --plan or --check")
    if no_images:
        options["frame_size"] = 0
    for name in () if check else ("store", "encoder"):
        if options[name] is None:
            raise click.UsageError(f"--{name} is missing: only --check works without")
    from samcache.extract.options import ExtractOptions
    from samcache.extract.sources.options import SourceOptions

    how = SourceOptions(**reading, window=window)
    if check:
        _check(source, how, options["store"], options["limit"], as_json)
        return
    refuse_other_format(options["store"], "a store", STORE_SUFFIXES)
    settings = ExtractOptions(source=source, reading=how, **options)
    if plan:
        _plan(settings, as_json)
        return
    _run(settings, as_json)


def _run(options: ExtractOptions, as_json: bool) -> None:
    from samcache.commands.show.extraction import (
        describe_summary,
        show_progress,
        show_remarks,
        summary_to_json,
    )
    from samcache.extract.pipeline.ranks import division
    from samcache.extract.run import extract

    terminal = console()
    with show_progress(terminal) as on_progress:
        summary = extract(options, on_progress, show_remarks(terminal))
    if as_json:
        click.echo(json.dumps(summary_to_json(summary), indent=2))
    else:
        print_parts(describe_summary(summary, terminal.quiet))
        if division().speaks and not summary.missing and not summary.remarks:
            store, trainable = str(options.store), options.frame_size != 0
            remark(terminal, next_for_store(store, trainable=trainable))
    if summary.new_unreadable:
        remark(terminal, _ABOUT_UNREADABLE)
        sys.exit(EXIT_UNREADABLE)


def _plan(options: ExtractOptions, as_json: bool) -> None:
    from samcache.commands.show.extraction import (
        describe_plan,
        plan_to_json,
        show_progress,
        show_remarks,
    )
    from samcache.extract.pipeline.ranks import division
    from samcache.extract.plan import plan_run

    terminal = console()
    with show_progress(terminal) as on_progress:
        planned = plan_run(options, on_progress, show_remarks(terminal))
    if not division().speaks:
        return  # one plan for the job
    if as_json:
        click.echo(json.dumps(plan_to_json(planned), indent=2))
    else:
        print_parts(describe_plan(planned))


def _check(
    path: Path, reading: SourceOptions, store: str | None, limit: int | None, as_json: bool
) -> None:
    from samcache.commands.show.extraction import (
        describe_report,
        report_to_json,
        show_progress,
        show_remarks,
    )
    from samcache.extract.check import check_source
    from samcache.extract.sources.open import open_source
    from samcache.extract.sources.recorded_reading import follow_store

    source = open_source(path, follow_store(reading, store) if store else reading)
    limited = limit is not None
    if limit is not None:
        source = source.limited(limit)
    terminal = console()
    with show_progress(terminal) as on_progress:
        report = check_source(
            source, reading.split_seed, limited, on_progress, show_remarks(terminal)
        )
    if as_json:
        click.echo(json.dumps(report_to_json(report), indent=2))
    else:
        print_parts(describe_report(report))
    if report.unreadable:
        sys.exit(EXIT_UNREADABLE)
