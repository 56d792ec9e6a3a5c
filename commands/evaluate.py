"""``samcache evaluate``: a trained run on an external test set.

Heavy imports stand inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from samcache.commands.options import Device, FilePath, option
from samcache.commands.written_format import FOLDER, refuse_other_format


@click.command()
@click.argument("run", type=FilePath(exists=True, file_okay=False))
@click.argument("store")
@option("--split", type=click.Choice(["test", "all"]), default="test", help="Samples to test on.")
@option("--out", type=FilePath(file_okay=False), help="Folder for the files.  [default: none]")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps.")
def evaluate(
    run: Path, store: str, split: str, out: Path | None, as_json: bool, device: str
) -> None:
    """Test RUN on STORE, an external test set of the same classes and the same features.

    Classes are matched by their names. The metrics are those of train, for each member of RUN and
    for the mean of all, with intervals bootstrapped over samples (patients whole). --out gets
    evaluation.json and predictions.csv.

    \b
    samcache evaluate runs/slca elsewhere.zarr --out runs/slca-elsewhere
    samcache evaluate runs/slca elsewhere.zarr --split all --json
    """
    from samcache.cache.store import Store
    from samcache.train.evaluate import evaluate as run_evaluation
    from samcache.train.evaluate import open_evaluation_folder, write_evaluation
    from samcache.train.runs.ensemble import open_run
    from samcache.train.runs.folder import held, refuse_run_folder

    if out:
        refuse_other_format(out, "a folder", FOLDER)
    trained = open_run(run)
    with ExitStack() as holding:
        if out:
            refuse_run_folder(out)
            open_evaluation_folder(out)
            holding.enter_context(held(out))  # the two files belong to one evaluation
        evaluation, predictions = run_evaluation(trained, Store(store), split, device)
        if out:
            write_evaluation(out, evaluation, predictions)
    click.echo(json.dumps(evaluation.to_json(), indent=2) if as_json else evaluation.text())
