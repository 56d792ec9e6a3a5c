"""``samcache cache …``: inspect, copy, check and repair stores.

Heavy imports are inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samcache.commands.encoder_options import given_encoder_options
from samcache.commands.options import (
    EXIT_DAMAGED,
    AutoOr,
    Device,
    FilePath,
    as_json_option,
    option,
    source_options,
)
from samcache.commands.terminal.ctrl_c import print_how_to_resume
from samcache.commands.terminal.group import (
    Commands,
    make_console,
    remark,
    suggest_after_store,
)
from samcache.commands.terminal.streams import open_console
from samcache.commands.written_format import HDF5, STORE_SUFFIXES, refuse_other_format

if TYPE_CHECKING:
    from rich.console import Console

    from samcache.cache.store import Store

_PIPED_WIDTH = 400  # columns


@click.group(cls=Commands)
def cache() -> None:
    """Inspect, copy, check and repair stores.

    STORE is a folder or a URL: s3://, gs://, az://, or https:// for reading. Credentials and
    endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).

    \b
    samcache cache ls s3://team
    samcache cache copy s3://team/breast.zarr breast.zarr
    """


@cache.command()
@click.argument("store")
@as_json_option
def info(store: str, as_json: bool) -> None:
    """Show the content of STORE, and which images are missing.

    \b
    samcache cache info breast.zarr
    samcache cache info s3://team/breast.zarr --json
    """
    from samcache.cache.care.info import describe
    from samcache.cache.store import Store
    from samcache.commands.show.stores import make_info

    description = describe(Store(store))
    if as_json:
        _print_json(description)
    else:
        open_console().print(make_info(description))


@cache.command("ls")
@click.argument("root")
@as_json_option
def list_(root: str, as_json: bool) -> None:
    """List the stores under ROOT, a folder or a bucket.

    Lists damaged stores, stores of another format, and what you may not read, with the reason, and
    exits with 1 if there are any.

    \b
    samcache cache ls /data/stores
    samcache cache ls s3://team --json
    """
    from samcache.cache.care.listing import list_stores
    from samcache.commands.show.stores import make_listing

    rows = list_stores(root)
    if as_json:
        _print_json([asdict(row) for row in rows])
    else:
        # a table that is piped is as wide as it needs to be; in a terminal it has its width
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        open_console(width=width).print(make_listing(rows, root))
    if any(row.broken for row in rows):
        sys.exit(EXIT_DAMAGED)


@cache.command()
@click.argument("store")
@click.option(
    "--fast", is_flag=True, help="Compare presence, sizes and, on a disk, each object's last row."
)
@as_json_option
def verify(store: str, fast: bool, as_json: bool) -> None:
    """Re-read STORE against its checksums.

    Lists damaged objects and lost samples, and exits with 1 if there are any.

    \b
    samcache cache verify breast.zarr
    samcache cache verify s3://team/breast.zarr --fast
    """
    from samcache.cache.care.verify import report
    from samcache.commands.show.progress import show_progress
    from samcache.commands.show.stores import describe_report

    with show_progress(make_console(), unit="shards") as on_progress:
        result = report(store, fast, on_progress)
    _print(result.to_json(), describe_report(result), as_json)
    if result.damage:
        sys.exit(EXIT_DAMAGED)


@cache.command()
@click.argument("store")
@option("--source", type=FilePath(), required=True, help="The images, as extract was given them.")
@given_encoder_options
@source_options
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@option("--batch-size", type=AutoOr(), default="auto", help="Images a batch; auto: what fits.")
@click.option(
    "--discard",
    is_flag=True,
    help="Mark rows that cannot be restored as unreadable; extract encodes them again.",
)
@as_json_option
@print_how_to_resume("repaired shards are kept; run the same command again to continue")
def repair(
    store: str, given: dict[str, Any], reading: dict[str, Any], as_json: bool, **options: Any
) -> None:
    """Restore the damaged objects of STORE.

    Uses the spare copies of records, and corrects single flipped bits with checksums. Restores the
    sample table from the source. Encodes only damaged rows again, if the source still has the same
    bytes. Keeps rows that the source lacks as they are.

    \b
    samcache cache repair breast.zarr --source breastmnist.npz
    """
    from samcache.commands.show.extraction import describe_repair
    from samcache.extract.repair import RepairOptions
    from samcache.extract.repair import repair as run
    from samcache.extract.sources.options import SourceOptions

    settings = RepairOptions(store=store, reading=SourceOptions(**reading), **given, **options)
    summary = run(settings)
    _print(asdict(summary), "\n".join(describe_repair(summary)), as_json)
    if summary.left:
        sys.exit(EXIT_DAMAGED)


@cache.command()
@click.argument("source")
@click.argument("destination")
@as_json_option
@print_how_to_resume("run the same command again to continue")
def copy(source: str, destination: str, as_json: bool) -> None:
    """Copy the store SOURCE to DESTINATION.

    Checks every object on arrival. After an interruption, run the same command again to continue;
    where SOURCE has grown, it copies the new shards. Lists damaged objects of SOURCE, leaves them
    out, and exits with 1.

    \b
    samcache cache copy breast.zarr s3://team/breast.zarr
    samcache cache copy https://lab.example/breast.zarr breast.zarr
    """
    from samcache.cache.care.copy import copy_store
    from samcache.cache.store import Store
    from samcache.commands.show.progress import show_progress
    from samcache.commands.show.stores import describe_copy

    refuse_other_format(destination, "a store", STORE_SUFFIXES)
    with show_progress(make_console(), unit="bytes") as on_progress:
        summary = copy_store(Store(source), destination, on_progress)
    _print(summary.to_json(), describe_copy(summary), as_json)
    if summary.damaged:
        sys.exit(EXIT_DAMAGED)


@cache.command()
@click.argument("stores", nargs=-1, required=True)
@click.option("--out", required=True, help="Store to create.")
@click.option(
    "--prefix", "prefixes", multiple=True, metavar="NAME",
    help="Put NAME/ before a store's ids and groups; once for each store, in order.",
)  # fmt: skip
@click.option("--allow-split-groups", is_flag=True, help="Accept groups that occur in two splits.")
@as_json_option
@print_how_to_resume("run the same command again to continue")
def merge(
    stores: tuple[str, ...],
    out: str,
    prefixes: tuple[str, ...],
    allow_split_groups: bool,
    as_json: bool,
) -> None:
    """Join STORES of one identity into a new store.

    Leaves out samples that were dropped from a store: merging a single store rewrites it without
    them. Refuses equal ids of different images. Use --prefix for stores of two sites whose files
    have equal names: equal group names are then different patients, too.

    \b
    samcache cache merge ward-a.zarr ward-b.zarr --out both.zarr
    samcache cache merge a.zarr b.zarr --prefix siteA --prefix siteB --out both.zarr
    samcache cache merge pruned.zarr --out compact.zarr
    """
    from samcache.cache.care.merge import merge_stores
    from samcache.cache.store import Store
    from samcache.commands.show.progress import show_progress

    refuse_other_format(out, "a store", STORE_SUFFIXES)
    opened = [Store(store) for store in stores]
    remarks = make_console()
    with show_progress(remarks, unit="shards") as on_progress:
        merged = merge_stores(opened, out, allow_split_groups, prefixes, on_progress)
    _show_made(merged, as_json, remarks)


@cache.command()
@click.argument("first")
@click.argument("second")
@as_json_option
def diff(first: str, second: str, as_json: bool) -> None:
    """List the differences between two stores.

    Compares identity, samples and features. Exits with 1 where they differ.

    \b
    samcache cache diff breast.zarr s3://team/breast.zarr
    """
    from samcache.cache.care.diff import diff_stores
    from samcache.cache.store import Store
    from samcache.commands.show.stores import describe_difference

    difference = diff_stores(Store(first), Store(second))
    _print(difference.to_json(), describe_difference(difference), as_json)
    if not difference.same:
        sys.exit(EXIT_DAMAGED)


@cache.command()
@click.argument("store")
@click.argument("file", type=FilePath())
@as_json_option
@print_how_to_resume("no partial file was left; run the same command again to start over")
def export(store: str, file: Path, as_json: bool) -> None:
    """Write STORE to one HDF5 FILE.

    samcache cache import makes the same store from it, bit for bit.

    \b
    samcache cache export breast.zarr breast.h5
    """
    from samcache.cache.care.hdf5.store import export_store
    from samcache.cache.store import Store
    from samcache.commands.show.progress import show_progress

    refuse_other_format(file, "HDF5", HDF5, strict=True)
    with show_progress(make_console(), unit="shards") as on_progress:
        export_store(Store(store), file, on_progress)
    size = file.stat().st_size
    _print({"file": str(file), "bytes": size}, f"{file}: {size / 1e6:.1f} MB", as_json)


@cache.command("import")
@click.argument("file", type=FilePath())
@click.argument("store")
@as_json_option
@print_how_to_resume("run the same command again to continue")
def import_(file: Path, store: str, as_json: bool) -> None:
    """Create STORE from an HDF5 FILE that samcache cache export wrote.

    \b
    samcache cache import breast.h5 breast.zarr
    """
    from samcache.cache.care.hdf5.store import import_store
    from samcache.commands.show.progress import show_progress

    refuse_other_format(store, "a store", STORE_SUFFIXES)
    remarks = make_console()
    with show_progress(remarks, unit="shards") as on_progress:
        made = import_store(file, store, on_progress)
    _show_made(made, as_json, remarks)


@cache.command()
@click.argument("store")
@click.option("--delete", is_flag=True, help="Remove the objects.  [default: only show them]")
@as_json_option
def gc(store: str, delete: bool, as_json: bool) -> None:
    """Show objects that no commit of STORE refers to, or remove them.

    \b
    samcache cache gc breast.zarr
    samcache cache gc breast.zarr --delete
    """
    from samcache.cache.care.gc import collect, find_garbage
    from samcache.cache.store import Store
    from samcache.commands.show.stores import describe_garbage, list_garbage

    opened = Store(store)
    garbage = find_garbage(opened)
    if delete:
        garbage = collect(opened, garbage)
    _print(list_garbage(garbage), describe_garbage(garbage), as_json)
    if garbage and not delete and not as_json:
        remark(make_console(), "Nothing was removed: --delete removes it.")


def _show_made(store: Store, as_json: bool, remarks: Console) -> None:
    """Print which store was made, and the next command."""
    from samcache.cache.text import count_nouns

    name, images = store.dataset.name, len(store.table)
    if as_json:
        made = {"location": store.location, "dataset": name, "images": images}
        _print_json({**made, "fingerprint": store.fingerprint})
    else:
        click.echo(f"{store.location}: {count_nouns(images, 'image')} of {name}")
        remark(
            remarks, suggest_after_store(store.location, trainable=bool(store.identity.frame_size))
        )


def _print(data: Any, text: str, as_json: bool) -> None:
    _print_json(data) if as_json else click.echo(text)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))
