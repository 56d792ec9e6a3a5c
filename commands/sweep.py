"""``samcache sweep``: search for the options that train best.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from samcache.commands.options import At, FilePath, option
from samcache.commands.terminal.ctrl_c import print_how_to_resume
from samcache.commands.terminal.group import make_console
from samcache.commands.training_options import OF_ONE_TRAINING, task_options, training_options
from samcache.commands.written_format import FOLDER, refuse_other_format


@click.command()
@click.argument("store")
@click.argument("more_stores", metavar="[STORE]...", nargs=-1)
@option("--out", type=FilePath(), required=True, help="Keep the sweep in this folder.")
@option("--trials", type=At(1), default=40, help="Stop after this many finished trials.")
@click.option(
    "--search", multiple=True, metavar="OPTION=VALUES",
    help="Search low..high or a|b|c; may be repeated.  [default: lr, weight decay, fusion]",
)  # fmt: skip
@option("--seed", type=int, default=0, help="Set the seed of every training and of the search.")
@task_options(*OF_ONE_TRAINING)
@training_options
@print_how_to_resume("run the same command again to continue with the next trial")
def sweep(
    out: Path,
    trials: int,
    search: tuple[str, ...],
    seed: int,
    **options: Any,
) -> None:
    """Search for the options that train best on STORE, or on several stores as train joins them.

    Sweep loads the store once, and compares trials by validation AUC, or by the metric of the
    kind of answer; the test split is not used.
    Optuna's TPE proposes values, and trials whose AUC stays below the median are cut short. At
    the end sweep prints the command that trains and tests the best options. Any number of
    processes may share a folder. The same command resumes an interrupted sweep, and more --trials
    extend a finished one. Extra: sweep.

    \b
    samcache sweep breast.zarr --out sweeps/a --epochs 15 --image-size 64
    samcache sweep breast.zarr --out sweeps/b --search lr=1e-4..1e-2 --search 'kernel=4|8' \\
        --search 'taps=late:stage3|late:stage3,neck:stage4'
    """
    from samcache.commands.show.progress import show_remarks
    from samcache.commands.show.tables import print_parts
    from samcache.commands.show.trainings import describe_trials, show_sweep_progress
    from samcache.train.config import TrainConfig
    from samcache.train.search.dimensions import parse_search
    from samcache.train.sweep import SweepConfig
    from samcache.train.sweep import sweep as run

    refuse_other_format(out, "a folder", FOLDER)
    base = TrainConfig(out=out, seeds=(seed,), **options)
    config = SweepConfig(base, parse_search(search), trials)
    remarks = make_console()
    with show_sweep_progress(remarks) as (show, copy):
        found = run(config, show_remarks(remarks), show, copy)
    print_parts(describe_trials(found))
