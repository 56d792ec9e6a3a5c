"""``samcache probe``: fit simple classifiers to each level of a store.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json

import click

from samcache.commands.options import as_json_option
from samcache.commands.terminal.group import make_console, remark


@click.command()
@click.argument("store")
@as_json_option
def probe(store: str, as_json: bool) -> None:
    """Fit simple classifiers to each level of STORE, to see whether its features carry signal.

    Probe fits logistic regression and nearest neighbours to the mean of each map, to the means of
    all levels, and to those with the spreads of the maps. Probes are fitted on train and chosen by
    validation AUC. Probe reads a few kB per image, no maps and no cached images.

    \b
    samcache probe breast.zarr
    """
    from samcache.cache.store import Store
    from samcache.commands.show.tables import print_parts
    from samcache.commands.show.trainings import describe_probe
    from samcache.train.probe import probe as run

    results = run(Store(store))
    for line in results.remarks:
        remark(make_console(), f"warning: {line}")
    if as_json:
        click.echo(json.dumps(results.to_json(), indent=2))
    else:
        print_parts(describe_probe(results))
