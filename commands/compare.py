"""``samcache compare``: runs on the same test samples.

Heavy imports stand inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from samcache.commands.options import FilePath


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
