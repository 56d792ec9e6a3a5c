"""``samcache probe``: what each level of a store knows by itself.

Heavy imports stand inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json

import click

from samcache.commands.options import as_json_option
from samcache.commands.terminal.group import console


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
    from samcache.train.tasks.trainings import warn

    results = run(Store(store))
    warn(console(), results.remarks)
    click.echo(json.dumps(results.to_json(), indent=2) if as_json else results.text())
