"""``samcache report``: write one page on a run and the runs to compare with.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from samcache.commands.options import GIVE_STORE, FilePath, option
from samcache.commands.terminal.group import make_console, remark
from samcache.commands.written_format import HTML, refuse_other_format


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath())
@option("--out", type=FilePath(), default="report.html", help="Write this HTML file.")
@click.option("--baseline", type=FilePath(), help="Compare with this run.  [default: the second]")
@click.option("--store", help="Show images of this store.  [default: RUN's own store]")
def report(runs: tuple[Path, ...], out: Path, baseline: Path | None, store: str | None) -> None:
    """Write one page on a run: result, warnings, figures, examples, model card.

    The page reports the first of RUNS that is not the baseline, and compares it with the others.
    The page needs no network and can be mailed. It shows images and ids of the test set. If the
    store of the run is not found, the page has no examples.

    \b
    samcache report runs/slca
    samcache report runs/slca runs/none runs/shuffled --out report.html
    samcache report runs/* --baseline runs/none --store s3://team/breast.zarr
    """
    from samcache.commands.show.tables import print_parts
    from samcache.commands.show.trainings import describe_report
    from samcache.train.report.page import write_report

    refuse_other_format(out, "an HTML page", HTML, strict=True)
    written = write_report(runs, baseline, store, out)
    print_parts(describe_report(written))
    if written.no_store:
        remark(make_console(), f"warning: no examples: {written.no_store}: {GIVE_STORE}")
