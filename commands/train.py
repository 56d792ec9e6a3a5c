"""``samcache train``, ``sweep``, ``probe`` and ``compare``: from a store to results.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samcache.commands.options import (
    At,
    AutoOr,
    CommaList,
    Device,
    FilePath,
    Positive,
    Share,
    as_json_option,
    option,
)
from samcache.commands.terminal import console, next_for_run, remark, resumable
from samcache.commands.written_format import FOLDER, refuse_other_format

ATTENTION = click.Choice(
    ["none", "slca", "shuffled", "random", "global", "per-location"]  # of train/controls.py
)
FUSION = click.Choice(["gate", "residual"])
RESIDENCY = click.Choice(["device", "memory", "disk"])
PRECISION = click.Choice(["auto", "float32", "bfloat16"])
STEM = click.Choice(["standard", "small"])
KEEP = click.Choice(["best", "last"])
SCHEDULE = click.Choice(["onecycle", "cosine"])


_PROTOCOL_OPTIONS = (
    option("--seeds", type=CommaList(int), default="0,1,2", help="One training per seed."),
    option("--folds", type=At(2), help="Cross-validate over all samples, patients whole."),
    option(
        "--fractions", type=CommaList(float), default="1", help="Shares of the training samples."
    ),
    option("--ordered", is_flag=True, help="Classes are grades in order: quadratic kappa too."),
)


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which trainings make an experiment."""
    for decorate in reversed(_PROTOCOL_OPTIONS):
        command = decorate(command)
    return command


_TRAINING_OPTIONS = (
    option("--attention", type=ATTENTION, default="slca", help="SLCA, none, or a control of it."),
    option("--backbone", default="resnet18", help="resnet18 to 152, swin_v2_t, _s, _b, timm:NAME."),
    option("--pretrained", help="Weights: a file, or download.  [default: random]"),
    option("--stem", type=STEM, default="standard", help="small: 3x3 stride 1 for small images."),
    option("--taps", type=CommaList(), help="LEVEL:STAGE or :MODULE.  [default: patch:stem …]"),
    option(
        "--kernel", type=AutoOr(), default="auto", help="SLCA's pooling, in the encoder's cells."
    ),
    option("--reduction", type=At(1), default=4, help="SLCA's channel reduction r."),
    option("--fusion", type=FUSION, default="gate", help="X*A, or X + X*A."),
    option("--join/--no-join", default=False, help="A head of the levels' spreads joins in."),
    option("--epochs", type=At(1), default=30),
    option("--image-size", type=At(16), help="Classifier's input.  [default: cache's, up to 224]"),
    option("--batch-size", type=At(2), default=64),
    option("--lr", type=Positive, default=1e-3, help="AdamW's peak learning rate."),
    option("--weight-decay", type=Share(min=0), default=0.05),
    option("--schedule", type=SCHEDULE, default="onecycle"),
    option("--class-weights", is_flag=True, help="Weight the loss by inverse class frequency."),
    option("--balanced-sampling", is_flag=True, help="Draw every class equally often."),
    option("--label-smoothing", type=Share(0, 1, max_open=True), default=0.0),
    option("--mixup", type=Share(min=0), default=0.0, help="Alpha of mixup; 0 is off."),
    option("--keep", type=KEEP, default="best", help="Epoch: best validation AUC, or last."),
    option("--patience", type=At(1), help="Stop after so many epochs without a better one."),
    option("--augment/--no-augment", default=True, help="Cached views; photometric changes."),
    option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps."),
    option("--precision", type=PRECISION, default="auto", help="auto: bfloat16 on GPUs with it."),
    option("--compile", is_flag=True, help="Compile the classifier: a slow start, faster epochs."),
    option("--residency", type=RESIDENCY, help="Where the data lie.  [default: first with room]"),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every single training."""
    for decorate in reversed(_TRAINING_OPTIONS):
        command = decorate(command)
    return command


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
    from samcache.train.distributed import launched_rank
    from samcache.train.results_text import text
    from samcache.train.run import train as run

    refuse_other_format(options["out"], "a run folder", FOLDER)
    remarks = console()
    results = run(TrainConfig(**options), remarks)
    if launched_rank() == 0:
        click.echo(text(results))
        remark(remarks, next_for_run(str(options["out"])))


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
    from samcache.train.search import parse_search
    from samcache.train.sweep import SweepConfig
    from samcache.train.sweep import sweep as run

    refuse_other_format(out, "a folder", FOLDER)
    base = TrainConfig(store, out, seeds=(seed,), **options)
    config = SweepConfig(base, parse_search(search), trials)
    click.echo(run(config, console()).text())


@click.command()
@click.argument("store")
@as_json_option
def probe(store: str, as_json: bool) -> None:
    """Ask each level of STORE what it knows by itself.

    Logistic regression and nearest neighbours on each map's mean, on all of them, and on those
    with the spreads within the maps; fitted on train, chosen on validation AUC: the cheapest look
    at whether a store holds signal. Reads a few kB an image, no map and no cached image.

    \b
    samcache probe breast.zarr
    """
    from samcache.cache.store import Store
    from samcache.train.probe import probe as run
    from samcache.train.trainings import warn

    results = run(Store(store))
    warn(console(), results.remarks)
    click.echo(json.dumps(results.to_json(), indent=2) if as_json else results.text())


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath())
@click.option("--baseline", type=FilePath(), help="Run to compare with.  [default: the first]")
@click.option("--format", "style", type=click.Choice(["text", "csv", "markdown"]), default="text")
@click.option(
    "--metric", "metrics", multiple=True, help="May be repeated.  [default: auc, accuracy]"
)
def compare(
    runs: tuple[Path, ...], baseline: Path | None, style: str, metrics: tuple[str, ...]
) -> None:
    """Compare RUNS on the same test samples.

    RUNS are folders that train has written.

    Mean ± sd over seeds with its 95 % bootstrap interval over test samples and seeds; the
    difference to the baseline is paired by both.

    \b
    samcache compare runs/none runs/slca runs/shuffled
    samcache compare runs/* --baseline runs/none --metric auc --metric ece --format markdown
    """
    from samcache.train.compare import DEFAULT_METRICS, render
    from samcache.train.compare import compare as run

    click.echo(render(run(runs, baseline, metrics or DEFAULT_METRICS), style))
