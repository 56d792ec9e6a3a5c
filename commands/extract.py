"""``samcache extract``: encode images into a store of features.

Heavy imports are inside the functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import click

from samcache.commands.encoder_options import ABOUT_ENCODERS, EncoderName
from samcache.commands.options import (
    EXIT_UNREADABLE,
    AutoOr,
    CommaList,
    Device,
    FilePath,
    Window,
    as_json_option,
    make_option,
    option,
    source_options,
)
from samcache.commands.show.tables import print_parts
from samcache.commands.terminal.ctrl_c import print_how_to_resume
from samcache.commands.terminal.group import make_console, remark, suggest_after_store
from samcache.commands.written_format import STORE_SUFFIXES, refuse_other_format
from samcache.extract.options import ExtractOptions
from samcache.extract.sources.options import SourceOptions

_ABOUT_UNREADABLE = (
    f"exit status {EXIT_UNREADABLE}, because of unreadable images; if the store already records "
    "them, --accept-unreadable makes it 0"
)


extract_option = functools.partial(make_option, ExtractOptions)


@click.command()
@click.argument("source", type=FilePath())
@option(
    "--store", help="Create or resume this Zarr store, a folder or a URL. Not needed for --check."
)
@option(
    "--encoder",
    type=EncoderName(),
    help=f"Encode with this model. {ABOUT_ENCODERS}. Not needed for --check.",
)
@extract_option(
    "checkpoint", help="Load weights from this file.  [default: the official file, downloaded once]"
)
@extract_option(
    "image_size", help="Scale images to this side for the encoder.  [default: the encoder's own]"
)
@extract_option("preprocessing", help="Normalise as this model does.  [default: the encoder's own]")
@extract_option("levels", help="Cache these levels: names, or block numbers from 0.")
@extract_option(
    "pool",
    help="Average maps over P x P cells before caching.  [default: 4, or the largest below that "
    "divides all maps]",
)
@extract_option("dtype", help="Store features in this type.")
@extract_option("views", help="Also cache flipped, or flipped and rotated, copies of each image.")
@extract_option(
    "precision", help="Compute in this type; auto: bfloat16 on devices that are fast at it."
)
@extract_option(
    "frame_size", help="Cache images with this side.  [default: the encoder's, at most 256]"
)
@option("--no-images", is_flag=True, help="Cache features alone; train needs the images.")
@extract_option("device", type=Device(), help="Run on auto, cpu, cuda, cuda:1 or mps.")
@extract_option(
    "batch_size", type=AutoOr(), help="Encode this many images at once; auto: what fits."
)
@extract_option("shard_rows", help="Write this many images in a shard, the unit of work.")
@extract_option("limit", help="Extract only this many images, spread over splits and classes.")
@extract_option("strict", help="Stop at an unreadable image instead of recording it.")
@extract_option(
    "accept_unreadable",
    help="Exit with 0, not 3, if the store already records each unreadable image.",
)
@extract_option("prune", help="Drop images that left the source; encode changed images again.")
@extract_option(
    "relabel", help="Correct the store's own labels: take those of the source for stored images."
)
@option("--reuse", multiple=True, help="Copy known images from this store; may be repeated.")
@extract_option("assume_unchanged", help="Do not compare stored images with the source.")
@option("--plan", is_flag=True, help="Only report what would be written and how long it takes.")
@option("--check", is_flag=True, help="Only read all images and report what SOURCE holds.")
@as_json_option
@option(
    "--window",
    type=Window(),
    help="Intensity window for DICOM and for grey images deeper than 8 bits.  [default: own]",
)
@option(
    "--keep-columns",
    type=CommaList(),
    default="",
    help="Manifest columns to keep with the samples, for train --target, --by and the like.",
)
@source_options
@extract_option("allow_split_groups", help="Accept groups that occur in two splits.")
@print_how_to_resume("finished shards are kept; run the same command again to continue")
def extract(
    source: Path,
    reading: dict[str, Any],
    keep_columns: tuple[str, ...],
    window: tuple[float, float] | None,
    no_images: bool,
    plan: bool,
    check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode SOURCE once and cache five levels of features in a store.

    SOURCE is a folder of images or of class folders, with or without train/val/test folders above
    them; a manifest (.csv or .parquet with the column file, and optionally class and split); a
    MedMNIST .npz or medmnist:NAME@SIZE; or HDF5. Images may be DICOM. A store needs no labels:
    train takes other questions from tables (--labels). A second run encodes only images that are
    not committed yet, or new in the source. Any number of processes may fill one store. Under
    torchrun and Slurm each rank gets its part of the shards.

    \b
    samcache extract breastmnist.npz --store breast.zarr --encoder vit_t --image-size 512
    samcache extract labels.csv --root images --store s3://team/isic.zarr --encoder vit_b
    torchrun --nproc-per-node 8 cli.py extract images --store team.zarr --encoder vit_h
    samcache extract images --store team.zarr --encoder vit_h --plan
    samcache extract images --store convnext.zarr --encoder timm:convnext_tiny --image-size 256
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
    how = SourceOptions(**reading, keep_columns=keep_columns, window=window)
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
        summary_to_json,
    )
    from samcache.commands.show.progress import show_progress, show_remarks
    from samcache.extract.pipeline.ranks import find_division
    from samcache.extract.run import extract

    terminal = make_console()
    with show_progress(terminal) as on_progress:
        summary = extract(options, on_progress, show_remarks(terminal))
    if as_json:
        click.echo(json.dumps(summary_to_json(summary), indent=2))
    else:
        print_parts(describe_summary(summary, terminal.quiet))
        if find_division().speaks and not summary.missing and not summary.remarks:
            store, trainable = str(options.store), options.frame_size != 0
            remark(terminal, suggest_after_store(store, trainable=trainable))
    if summary.new_unreadable:
        remark(terminal, _ABOUT_UNREADABLE)
        sys.exit(EXIT_UNREADABLE)


def _plan(options: ExtractOptions, as_json: bool) -> None:
    from samcache.commands.show.extraction import (
        describe_plan,
        plan_to_json,
    )
    from samcache.commands.show.progress import show_progress, show_remarks
    from samcache.extract.pipeline.ranks import find_division
    from samcache.extract.plan import plan_run

    terminal = make_console()
    with show_progress(terminal) as on_progress:
        planned = plan_run(options, on_progress, show_remarks(terminal))
    if not find_division().speaks:
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
    )
    from samcache.commands.show.progress import show_progress, show_remarks
    from samcache.extract.check import check_source
    from samcache.extract.sources.open import open_source
    from samcache.extract.sources.recorded_reading import follow_store

    source = open_source(path, follow_store(reading, store) if store else reading)
    limited = limit is not None
    if limit is not None:
        source = source.limit(limit)
    terminal = make_console()
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
