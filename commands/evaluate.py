"""``samcache evaluate``: test a trained run on another store.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from samcache.commands.options import Device, FilePath, as_json_option, option
from samcache.commands.terminal.group import make_console
from samcache.commands.training_options import task_options
from samcache.commands.written_format import FOLDER, refuse_other_format
from samcache.train.tasks.options import TaskOptions


@click.command()
@click.argument("run", type=FilePath(exists=True, file_okay=False))
@click.argument("stores", metavar="STORE...", nargs=-1, required=True)
@option("--split", type=click.Choice(["test", "all"]), default="test", help="Test on this split.")
@option(
    "--out",
    type=FilePath(file_okay=False),
    help="Write the results to this folder.  [default: none]",
)
@task_options("labels", "target", "key", "splits", "split_column", "group_column", "by")
@as_json_option
@option("--device", type=Device(), default="auto", help="Choose auto, cpu, cuda, cuda:1 or mps.")
def evaluate(
    run: Path,
    stores: tuple[str, ...],
    split: str,
    out: Path | None,
    as_json: bool,
    device: str,
    task: TaskOptions,
) -> None:
    """Test RUN on STORE, an external test set with the same classes and the same features.

    Evaluate matches classes by name. It computes the metrics of train for each member of RUN and
    for their ensemble, with intervals over samples (patients whole) and members. --out gets
    evaluation.json and predictions.csv. With --labels, labels come from a table, as in train, and
    so do subgroups: those of --by, or those that RUN was trained with.
    A RUN of several stores takes as many stores of the same features.

    \b
    samcache evaluate runs/slca elsewhere.zarr --out runs/slca-elsewhere
    samcache evaluate runs/slca elsewhere.zarr --split all --json
    """
    from samcache.commands.show.progress import show_remarks
    from samcache.commands.show.tables import print_parts
    from samcache.commands.show.trainings import describe_evaluation
    from samcache.train.evaluate import evaluate as run_evaluation
    from samcache.train.evaluate import open_evaluation_folder, write_evaluation
    from samcache.train.runs.ensemble import open_predictor
    from samcache.train.runs.folder import lock_folder, refuse_run_folder
    from samcache.train.runs.store import open_stores_of_features

    if out:
        refuse_other_format(out, "a folder", FOLDER)
    trained = open_predictor(run)
    opened = open_stores_of_features(trained, stores, show_remarks(make_console()))
    with ExitStack() as locks:
        if out:
            refuse_run_folder(out)
            open_evaluation_folder(out)
            locks.enter_context(lock_folder(out))  # both files are of one evaluation
        evaluation, predictions = run_evaluation(trained, opened, split, device, task)
        if out:
            write_evaluation(out, evaluation, predictions)
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=2))
    else:
        print_parts(describe_evaluation(evaluation))
