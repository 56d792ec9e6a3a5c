"""``samcache sweep``: search for the options that train best.

Heavy imports stand inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from samcache.commands.options import At, FilePath, option
from samcache.commands.terminal.group import console, resumable
from samcache.commands.training_options import training_options
from samcache.commands.written_format import FOLDER, refuse_other_format


@click.command()
@click.argument("store")
@option("--out", type=FilePath(), required=True, help="Folder of the sweep.")
@option("--trials", type=At(1), default=40, help="Finished trainings to reach, in all.")
@click.option(
    "--search", multiple=True, metavar="OPTION=VALUES",
    help="low..high or a|b|c; may be repeated.  [default: lr, weight decay, fusion]",
)  # fmt: skip
@option("--seed", type=int, default=0, help="Of every training, and of the search.")
@training_options
@resumable("the same command goes on with the next trial")
def sweep(
    store: str, out: Path, trials: int, search: tuple[str, ...], seed: int, **options: Any
) -> None:
    """Search for the options that train best on STORE.

    Best by validation AUC. The store is loaded once. Values are proposed by Optuna's TPE, and
    trainings whose AUC stays below the median are cut short. The test split has no part in it: at
    the end stands the command that trains and tests the best. Any number of processes may share a
    folder; the same command goes on where it was interrupted, and with more --trials goes further.
    Extra: sweep.

    \b
    samcache sweep breast.zarr --out sweeps/a --epochs 15 --image-size 64
    samcache sweep breast.zarr --out sweeps/b --search lr=1e-4..1e-2 --search 'kernel=4|8' \\
        --search 'taps=late:stage3|late:stage3,neck:stage4'
    """
    from samcache.train.config import TrainConfig
    from samcache.train.search.dimensions import parse_search
    from samcache.train.sweep import SweepConfig
    from samcache.train.sweep import sweep as run

    refuse_other_format(out, "a folder", FOLDER)
    base = TrainConfig(store, out, seeds=(seed,), **options)
    config = SweepConfig(base, parse_search(search), trials)
    click.echo(run(config, console()).text())
