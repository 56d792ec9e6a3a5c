"""``samcache compare``: runs on the same test samples.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from samcache.commands.options import FilePath, option
from samcache.commands.terminal.group import make_console, remark


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath())
@click.option("--baseline", type=FilePath(), help="Compare with this run.  [default: the first]")
@option(
    "--format", "style", type=click.Choice(["text", "csv", "markdown"]), default="text",
    help="Print a table as text, CSV or markdown.",
)  # fmt: skip
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Compare this metric; may be repeated.  [default: the kind's two]",
)
def compare(
    runs: tuple[Path, ...], baseline: Path | None, style: str, metrics: tuple[str, ...]
) -> None:
    """Compare RUNS on the same test samples.

    RUNS are folders that train wrote, from one store or from stores of several encoders over the
    same images. The table shows each metric's mean ± sd over seeds with its
    95 % interval over test samples and seeds. Differences to the baseline are paired by sample;
    the spreads of the seeds of both runs add up.

    \b
    samcache compare runs/none runs/slca runs/shuffled
    samcache compare runs/* --baseline runs/none --metric auc --metric ece --format markdown
    """
    from samcache.commands.show.comparison import describe_comparison
    from samcache.commands.show.tables import print_parts
    from samcache.train.compare import compare as run

    found = run(runs, baseline, metrics or None)
    for line in found.remarks:
        remark(make_console(), line)
    print_parts(describe_comparison(found.rows, style))
