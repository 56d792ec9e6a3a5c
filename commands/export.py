"""``samcache export``: write a trained run as a program that runs without samcache.

Heavy imports are inside the functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samcache.commands.encoder_options import given_encoder_options
from samcache.commands.options import GIVE_STORE, FilePath, option
from samcache.commands.terminal.group import make_console, remark
from samcache.commands.written_format import refuse_other_format

if TYPE_CHECKING:
    from samcache.cache.store import Store
    from samcache.train.runs.run import Run

Shapes = dict[str, tuple[int, int, int]]

Folder = FilePath(exists=True, file_okay=False)


@click.command()
@click.argument("run", type=Folder)
@option(
    "--format", "style", type=click.Choice(["torch", "onnx"]), default="torch",
    help="Write this format.",
)  # fmt: skip
@option(
    "--out", type=FilePath(dir_okay=False),
    help="Write this file.  [default: RUN/ensemble.pt2 or .onnx]",
)  # fmt: skip
@option("--member", help="Export one training, such as seed-0.  [default: the mean of all]")
@option("--store", help="Check on samples of this store.  [default: RUN's own store, if found]")
@option("--with-encoder", is_flag=True, help="Include the encoder: the program takes an image.")
@given_encoder_options
def export(
    run: Path,
    style: str,
    out: Path | None,
    member: str | None,
    store: str | None,
    with_encoder: bool,
    given: dict[str, Any],
) -> None:
    """Write RUN as a program that runs without samcache: torch.export or ONNX.

    The program takes images and maps as a store keeps them, in batches of any size, and returns
    probabilities. With --with-encoder it takes one RGB image of any size, and its default name is
    RUN/ensemble-with-encoder.pt2 or .onnx. A JSON file in the same folder describes inputs,
    output and classes. Export compares the program with predict, and keeps the program only if
    the probabilities agree to 1e-5, with the encoder to 1e-3. docs/predict.md has scripts that
    run the program.

    \b
    samcache export runs/slca
    samcache export runs/slca --format onnx --member seed-0 --out classifier.onnx
    samcache export runs/slca --with-encoder --checkpoint mobile_sam.pt
    """
    from samcache.commands.export_encoder import export_with_encoder
    from samcache.commands.show.trainings import describe_exported
    from samcache.extract.encoders.of_identity import GivenEncoder
    from samcache.train.export import export_classifier
    from samcache.train.runs.ensemble import load_ensemble, open_predictor
    from samcache.train.runs.folder import refuse_file_of_a_run
    from samcache.train.runs.program_file import SUFFIXES
    from samcache.train.runs.store import refuse_several_stores

    if given["checkpoint"] and not with_encoder:
        raise click.UsageError("--checkpoint needs --with-encoder")
    trained = open_predictor(run)
    refuse_several_stores(trained, "train a run from one store to export it")
    ensemble = load_ensemble(trained, member=member)
    name = f"{member or 'ensemble'}{'-with-encoder' if with_encoder else ''}{SUFFIXES[style]}"
    path = out or run / name
    refuse_other_format(path, f"a program of --format {style}", (SUFFIXES[style],))
    refuse_file_of_a_run(path)
    samples = _open_samples_store(trained, store)
    if with_encoder:
        encoder = GivenEncoder(**given)
        for line in export_with_encoder(trained, ensemble, path, style, samples, encoder):
            click.echo(line)
        return
    shapes = _find_stored_shapes(trained, samples, given["code"])
    exported = export_classifier(trained, ensemble, shapes, path, style, samples)
    click.echo(describe_exported(exported))


def _find_stored_shapes(run: Run, store: Store | None, code: str) -> Shapes:
    """(C, h, w) of what a store keeps of each level that the run reads.

    Without a store the encoder says them. code: the encoder of her own that the user named.
    """
    from samcache.extract.encoders.load import find_level_shapes, pool_shapes
    from samcache.extract.encoders.of_identity import find_architecture_of
    from samcache.train.export import list_levels_read

    identity, levels = run.identity, list_levels_read(run)
    if not levels:
        return {}
    if store is not None:
        return {level: store.layout.level_shapes[level] for level in levels}
    architecture = find_architecture_of(identity, code)
    found = find_level_shapes(architecture, levels, identity.image_size)
    return pool_shapes(found, identity.pool)


def _open_samples_store(run: Run, asked: str | None) -> Store | None:
    """The named store, or the run's own; None, with a warning, where neither can be opened."""
    from samcache.cache.errors import StoreError
    from samcache.cache.store import Store
    from samcache.train.runs.store import open_run_store

    if asked is not None:
        return Store(asked)
    try:
        return open_run_store(run)
    except (StoreError, OSError) as error:
        reason = f"warning: checked on random inputs alone: {error}: {GIVE_STORE}"
        remark(make_console(), reason)
        return None
