"""``samcache doctor``: examine this machine.

Heavy imports are inside the function, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from samcache.commands.options import EXIT_DAMAGED, FilePath, as_json_option
from samcache.commands.terminal.streams import open_console


@click.command()
@click.argument("stores", nargs=-1)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FilePath(),
    multiple=True,
    help="Check this file of weights; may be repeated.",
)
@as_json_option
def doctor(stores: tuple[str, ...], checkpoints: tuple[Path, ...], as_json: bool) -> None:
    """Examine this machine, and advise on what it lacks.

    Lists packages, extras, devices, memory, disk space, and checkpoint files by their hash. Tests
    whether STORES (folders, buckets or single stores) can be reached. Exits with 1 if something
    needs to be done.

    \b
    samcache doctor
    samcache doctor s3://team --checkpoint sam_vit_b_01ec64.pth
    """
    from samcache.commands.show.extraction import make_findings_table
    from samcache.extract.doctor import examine_machine

    findings = examine_machine(checkpoints, stores)
    if as_json:
        values = [{**asdict(finding), "ok": finding.ok} for finding in findings]
        click.echo(json.dumps(values, indent=2))
    else:
        open_console().print(make_findings_table(findings))
    if not all(finding.ok for finding in findings):
        sys.exit(EXIT_DAMAGED)
