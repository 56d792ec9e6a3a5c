"""``samcache train``: from a store to results.

Heavy imports stand inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from samcache.commands.options import FilePath, option
from samcache.commands.terminal.group import console, next_for_run, remark, resumable
from samcache.commands.training_options import protocol_options, training_options
from samcache.commands.written_format import FOLDER, refuse_other_format


@click.command()
@click.argument("store")
@option("--out", type=FilePath(), required=True, help="Run folder to write.")
@protocol_options
@training_options
@option("--tensorboard", is_flag=True, help="Write events too (extra: tensorboard).")
@option("--overwrite", is_flag=True, help="Replace a finished run in the same folder.")
@resumable("the same command goes on after the last saved epoch")
def train(**options: Any) -> None:
    """Train a classifier from STORE, and test it.

    Once for each seed, fold and fraction. A store at a URL is first brought to a local folder,
    once (SAMCACHE_STAGE, and SAMCACHE_STAGE_LIMIT for its size). The epoch with the best
    validation AUC, or the last, is tested. The run folder gets config.json, metrics.csv,
    predictions.csv, results.json and one safetensors file per training. Intervals are
    bootstrapped over test samples (patients whole) and seeds. Under torchrun, the processes share
    each batch.

    \b
    samcache train breast.zarr --out runs/slca --image-size 64
    samcache train breast.zarr --out runs/none --image-size 64 --attention none
    samcache train breast.zarr --out runs/curve --fractions 0.05,0.1,0.25,0.5,1
    samcache train breast.zarr --out runs/folds --folds 5
    """
    from samcache.train.config import TrainConfig
    from samcache.train.fit.distributed import launched_rank
    from samcache.train.run import train as run
    from samcache.train.scores.results import text

    refuse_other_format(options["out"], "a run folder", FOLDER)
    remarks = console()
    results = run(TrainConfig(**options), remarks)
    if launched_rank() == 0:
        click.echo(text(results))
        remark(remarks, next_for_run(str(options["out"])))
