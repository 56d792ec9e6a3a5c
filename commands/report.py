"""``samcache report``: runs as one page.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from samcache.commands.options import GIVE_STORE, FilePath, option
from samcache.commands.terminal.group import console, remark
from samcache.commands.written_format import HTML, refuse_other_format


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath())
@option("--out", type=FilePath(), default="report.html", help="HTML file to write.")
@click.option("--baseline", type=FilePath(), help="Run to compare with.  [default: the second]")
@click.option("--store", help="Store with the images.  [default: the one the run names]")
def report(runs: tuple[Path, ...], out: Path, baseline: Path | None, store: str | None) -> None:
    """Write one page on a run: result, warnings, figures, examples, model card.

    The first of RUNS that is not the baseline is reported, the others stand beside it. The page
    needs no network and can be mailed; mind that it shows images and ids of the test set. Without
    its store it is written without examples.

    \b
    samcache report runs/slca
    samcache report runs/slca runs/none runs/shuffled --out report.html
    samcache report runs/* --baseline runs/none --store s3://team/breast.zarr
    """
    from samcache.train.report.page import write_report

    refuse_other_format(out, "an HTML page", HTML, strict=True)
    written = write_report(runs, baseline, store, out)
    click.echo(written.text())
    if written.no_store:
        remark(console(), f"warning: no examples: {written.no_store}: {GIVE_STORE}")
