"""``samcache doctor``: look at this machine.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
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
    "--checkpoint", "checkpoints", type=FilePath(), multiple=True, help="Weights to check."
)
@as_json_option
def doctor(stores: tuple[str, ...], checkpoints: tuple[Path, ...], as_json: bool) -> None:
    """Look at this machine, and say what to do.

    Packages, extras, devices, memory, disk, checkpoint files by their hash, and whether STORES
    (folders, buckets or single stores) can be reached. Exits with 1 where something needs to be
    done.

    \b
    samcache doctor
    samcache doctor s3://team --checkpoint sam_vit_b_01ec64.pth
    """
    from samcache.commands.show.extraction import findings_table
    from samcache.extract.doctor import examine_machine

    findings = examine_machine(checkpoints, stores)
    if as_json:
        values = [{**asdict(finding), "ok": finding.ok} for finding in findings]
        click.echo(json.dumps(values, indent=2))
    else:
        open_console().print(findings_table(findings))
    if not all(finding.ok for finding in findings):
        sys.exit(EXIT_DAMAGED)
