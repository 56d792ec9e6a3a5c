"""``samcache probe`` and ``samcache compare``: look at stores and at finished runs.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from samcache.cache.options import FilePath


@click.command()
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def probe(store: str, as_json: bool) -> None:
    """Ask each level of STORE what it knows by itself.

    Logistic regression and nearest neighbours on each map's mean, fitted on train, chosen on
    validation AUC: the cheapest look at whether a store holds signal. Needs no cached images.

    \b
    samcache probe breast.zarr
    """
    from rich.console import Console

    from samcache.cache.stage import staged
    from samcache.cache.store import Store
    from samcache.train.probe import probe as run

    results = run(staged(Store(store), Console(stderr=True)))
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
    """Compare RUNS, folders that train has written, on the same test samples.

    Mean ± sd over seeds with its 95 % bootstrap interval over test samples and seeds; the
    difference to the baseline is paired by both.

    \b
    samcache compare runs/none runs/slca runs/shuffled
    samcache compare runs/* --baseline runs/none --metric auc --metric ece --format markdown
    """
    from samcache.train.compare import DEFAULT_METRICS, render
    from samcache.train.compare import compare as run

    click.echo(render(run(runs, baseline, metrics or DEFAULT_METRICS), style))
