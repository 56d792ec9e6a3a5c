"""``samcache predict``: predict classes for images or for a store.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from samcache.commands.encoder_options import given_encoder_options
from samcache.commands.options import (
    EXIT_UNREADABLE,
    AutoOr,
    Device,
    FilePath,
    image_options,
    option,
)
from samcache.commands.terminal.ctrl_c import print_how_to_resume
from samcache.commands.terminal.group import make_console, remark
from samcache.commands.terminal.streams import open_data_stream
from samcache.commands.written_format import CSV, FOLDER, JSON, refuse_other_format

if TYPE_CHECKING:
    from rich.console import Console

    from samcache.cache.store import Store
    from samcache.extract.images.oddities import Oddities
    from samcache.train.runs.run import Run

Folder = FilePath(exists=True, file_okay=False)


@click.command()
@click.argument("run", type=Folder)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@option("--out", type=FilePath(dir_okay=False), help="Write this file.  [default: standard output]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of CSV.")
@option("--heatmap", type=FilePath(file_okay=False), help="Draw the gates to this folder.")
@given_encoder_options
@option("--device", type=Device(), default="auto", help="Choose auto, cpu, cuda, cuda:1 or mps.")
@option(
    "--batch-size",
    type=AutoOr(),
    default="auto",
    help="Encode this many images at once; auto: what fits.",
)
@image_options
@print_how_to_resume("no partial output was left; run the same command again to start over")
def predict(
    run: Path,
    inputs: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    heatmap: Path | None,
    **options: Any,
) -> None:
    """Predict classes for each INPUT with a trained RUN.

    INPUT is an image (also DICOM), a folder of images, a manifest, or any other source that
    extract takes; labels are not needed. Predict encodes images with the settings and the weights
    that RUN records. INPUT can also be a store with the same features, a folder or a URL; for a
    RUN from several stores, give as many stores. The members of RUN, over seeds and folds, are
    averaged. Each image gets one row: id, predicted class, a probability for each class, and sd,
    the standard deviation over members. An image that cannot be read gets a reason instead, and
    the exit status is 3. The gates that --heatmap draws do not explain a prediction.

    \b
    samcache predict runs/slca scan.dcm photo.png
    samcache predict runs/slca images/ --out predictions.csv --heatmap maps
    samcache predict runs/slca s3://team/other.zarr --json
    """
    from samcache.commands.show.extraction import describe_oddities
    from samcache.extract.images.oddities import NO_ODDITIES, Oddities
    from samcache.train.pictures.heat_maps import open_heat_map_folder, write_heat_maps
    from samcache.train.predict import predict_store
    from samcache.train.runs.ensemble import load_ensemble, open_predictor
    from samcache.train.runs.folder import refuse_file_of_a_run
    from samcache.train.runs.prediction_rows import list_columns, make_rows, write_csv, write_json

    if out:
        refuse_other_format(out, *(("JSON", JSON) if as_json else ("CSV (without --json)", CSV)))
    if heatmap:
        refuse_other_format(heatmap, "a folder of pictures", FOLDER)
    trained = open_predictor(run)
    if out:
        refuse_file_of_a_run(out)
    if heatmap:
        open_heat_map_folder(heatmap, trained)

    oddities = list[Oddities]()
    bar = out is not None or not sys.stdout.isatty()  # the bar and rows would overwrite each other

    def predict_rows() -> Iterator[dict[str, Any]]:
        ensemble = load_ensemble(trained, options["device"])
        stores = _open_stores(trained, inputs, make_console(), bar, oddities.append, **options)
        for store in stores:
            for part in predict_store(trained, ensemble, store):
                drawn = None
                if heatmap:
                    drawn = write_heat_maps(heatmap, trained, ensemble, store, part)
                yield from make_rows(part, trained.target, drawn)

    with _open_output(out) as file:
        if as_json:
            head = {"members": trained.members, "classes": trained.classes}
            failed = write_json(
                predict_rows(), head, file, lambda: {"noted": asdict(sum(oddities, NO_ODDITIES))}
            )
        else:
            names = list_columns(trained.target, heatmap is not None)
            failed = write_csv(predict_rows(), names, file)
    for line in describe_oddities(sum(oddities, NO_ODDITIES)):
        remark(make_console(), line)
    if out:
        remark(make_console(), f"predictions are in {out}")
    if failed:
        click.echo(f"without a prediction, for the reasons given: {failed}", err=True)
        sys.exit(EXIT_UNREADABLE)


def _open_stores(
    run: Run,
    inputs: tuple[str, ...],
    console: Console,
    bar: bool,
    on_oddities: Callable[[Oddities], None],
    reading: dict[str, Any],
    hash_ids: bool,
    given: dict[str, Any],
    device: str,
    batch_size: int | None,
) -> Iterator[Store]:
    """The input itself where it is a store, else temporary stores of its images, one by one."""
    from samcache.commands.show.extraction import describe_passed_over
    from samcache.commands.show.progress import show_progress, show_remarks
    from samcache.extract.encoders.of_identity import GivenEncoder
    from samcache.extract.images.colour import parse_window
    from samcache.extract.live import open_live_encoder
    from samcache.extract.sources.inputs import open_inputs
    from samcache.extract.sources.options import SourceOptions
    from samcache.extract.sources.recorded_reading import follow_run
    from samcache.train.runs.store import (
        GIVE_STORES,
        open_stores_of_features,
        refuse_several_stores,
    )

    if any(_is_store(name) for name in inputs):
        if not all(_is_store(name) for name in inputs):
            raise click.UsageError("give stores alone, or images alone, as INPUT")
        yield open_stores_of_features(run, inputs, show_remarks(console))
        return
    refuse_several_stores(run, GIVE_STORES)
    asked = SourceOptions(**reading, window=parse_window(run.identity.window))
    how = follow_run(asked, run.pixel_options, str(run.folder))
    found = open_inputs(inputs, how, hash_ids)
    passed_over = [name for given in found for name in given.source.passed_over]
    for line in describe_passed_over(passed_over):
        remark(console, line)
    encoder = open_live_encoder(run.identity, GivenEncoder(**given), device, batch_size)
    if not bar:
        yield from encoder.fill_stores(found, on_oddities=on_oddities)
        return
    with show_progress(console) as on_progress:
        yield from encoder.fill_stores(found, on_progress, on_oddities)


def _is_store(name: str) -> bool:
    from samcache.cache.objects.location import is_remote
    from samcache.cache.objects.place_kind import is_store

    return is_remote(name) or is_store(Path(name))


@contextmanager
def _open_output(out: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that gets its name when it is whole."""
    if out is None:
        yield open_data_stream()
        sys.stdout.flush()  # a closed pipe is noticed here
        return
    from samcache.cache.files.whole_file import replace_file

    with replace_file(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        yield file
