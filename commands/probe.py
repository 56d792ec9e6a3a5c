"""``samcache probe``: fit simple classifiers to each level of a store.

Heavy imports are inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from samcache.commands.options import as_json_option
from samcache.commands.terminal.group import make_console, remark
from samcache.commands.training_options import OF_ONE_TRAINING, task_options
from samcache.train.tasks.options import TaskOptions

if TYPE_CHECKING:
    from samcache.commands.show.tables import Part
    from samcache.train.probe import ProbeResults
    from samcache.train.probes.stores import StoresProbed


@click.command()
@click.argument("stores", metavar="STORE...", nargs=-1, required=True)
@task_options(*OF_ONE_TRAINING)
@as_json_option
def probe(stores: tuple[str, ...], as_json: bool, task: TaskOptions) -> None:
    """Fit simple classifiers to each level of STORE, to see whether its features carry signal.

    Probe fits logistic regression and nearest neighbours to the mean of each map, to the means of
    all levels, and to those with the spreads of the maps. Probes are fitted on train and chosen by
    validation AUC. Probe reads a few kB per image, no maps and no cached images.

    Several stores, such as those of two encoders, are compared on the images that are in all of
    them: the table shows the difference of each test score to the first store. The last lines
    show the levels of all stores together.

    \b
    samcache probe breast.zarr
    samcache probe breast-mobile.zarr breast-litemedsam.zarr
    """
    from samcache.commands.show.tables import print_parts

    results: ProbeResults | StoresProbed
    if len(stores) == 1:
        results, parts = _probe_one(stores[0], task)
    else:
        results, parts = _probe_each(stores, task)
    for line in results.notes:
        remark(make_console(), line)
    for line in results.remarks:
        remark(make_console(), f"warning: {line}")
    if as_json:
        click.echo(json.dumps(results.to_json(), indent=2))
    else:
        print_parts(parts)


def _probe_one(store: str, task: TaskOptions) -> tuple[ProbeResults, list[Part]]:
    from samcache.cache.store import Store
    from samcache.commands.show.trainings import describe_probe
    from samcache.train.probe import probe as run

    results = run(Store(store), task)
    return results, describe_probe(results)


def _probe_each(stores: tuple[str, ...], task: TaskOptions) -> tuple[StoresProbed, list[Part]]:
    from samcache.cache.store import Store
    from samcache.commands.show.probed_stores import describe_probed_stores
    from samcache.train.data.joined_store import JoinedStore, name_stores
    from samcache.train.probes.stores import probe_stores

    results = probe_stores(JoinedStore(name_stores(stores), list(map(Store, stores))), task)
    return results, describe_probed_stores(results)
