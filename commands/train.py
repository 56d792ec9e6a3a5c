"""``samcache train``: train classifiers from a store, and test them.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from samcache.commands.options import FilePath, option
from samcache.commands.terminal.ctrl_c import print_how_to_resume
from samcache.commands.terminal.group import make_console, remark, suggest_after_run
from samcache.commands.training_options import (
    protocol_options,
    task_options,
    train_option,
    training_options,
)
from samcache.commands.written_format import FOLDER, refuse_other_format


@click.command()
@click.argument("store")
@click.argument("more_stores", metavar="[STORE]...", nargs=-1)
@option("--out", type=FilePath(), required=True, help="Write the run to this folder.")
@task_options()
@protocol_options
@training_options
@train_option("tensorboard", help="Write TensorBoard events too (extra: tensorboard).")
@train_option("overwrite", help="Replace a finished run in the same folder.")
@print_how_to_resume("run the same command again to resume after the last saved epoch")
def train(**options: Any) -> None:
    """Train a classifier from STORE, and test it.

    Train trains once for each seed, fold and fraction, and tests the epoch with the best
    validation AUC, or the last epoch. The run folder gets config.json, metrics.csv,
    predictions.csv, results.json and one safetensors file per training. Intervals are
    over test samples (patients whole) and seeds. A store at a URL is copied once to
    a local folder (SAMCACHE_STAGE, and SAMCACHE_STAGE_LIMIT for its size). Under torchrun, the
    processes share each batch.

    Several stores of the same images are joined by id and source file. Their levels are named by
    their store, such as breast-mobile/neck; images, labels and splits are the first store's.

    \b
    samcache train breast.zarr --out runs/slca --image-size 64
    samcache train breast.zarr --out runs/none --image-size 64 --attention none
    samcache train breast.zarr --out runs/curve --fractions 0.05,0.1,0.25,0.5,1
    samcache train breast.zarr --out runs/folds --folds 5
    samcache train breast-mobile.zarr breast-vit_b.zarr --out runs/both
    samcache train breast.zarr --out runs/sex --labels metadata.csv --target sex --folds 5
    """
    from samcache.commands.show.progress import show_remarks
    from samcache.commands.show.tables import print_parts
    from samcache.commands.show.trainings import describe_results, show_training_progress
    from samcache.train.config import TrainConfig
    from samcache.train.fit.distributed import find_launched_rank
    from samcache.train.run import train as run

    refuse_other_format(options["out"], "a run folder", FOLDER)
    remarks = make_console()
    with show_training_progress(remarks) as (show, copy):
        results = run(TrainConfig(**options), show_remarks(remarks), show, copy)
    if find_launched_rank() == 0:
        print_parts(describe_results(results))
        remark(remarks, suggest_after_run(str(options["out"])))
