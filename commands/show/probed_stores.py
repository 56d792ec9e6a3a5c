"""Show the probes of several stores as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samcache.cache.text import count_nouns
from samcache.commands.show.tables import make_table
from samcache.commands.show.trainings import HYPERPARAMETERS, write_score
from samcache.train.scores.format import format_interval, name_selection

if TYPE_CHECKING:
    from samcache.commands.show.tables import Part
    from samcache.train.compare import Difference
    from samcache.train.probes.stores import StoreScores, StoresProbed


def describe_probed_stores(results: StoresProbed) -> list[Part]:
    """A line for each store, level and probe, with the difference to the first store."""
    head = f"{results.dataset}: test, {count_nouns(results.samples['test'], 'sample')}"
    if results.majority is not None:
        head += f", {results.majority:.3f} of them in the commonest training class"
    metric = next(iter(results.scores[0].scores.test))
    name, first = name_selection(metric), results.stores[0].name
    heads = ["store", "level", "probe", f"val {name}", f"test {name}", "difference"]
    rows = [_list_cells(one, metric) for one in results.scores]
    note = f"difference: test {name} minus that of {first}, paired by sample (95 % interval)"
    return [head, "", make_table(rows, heads, right=(3,)), "", note]


def _list_cells(one: StoreScores, metric: str) -> list[str]:
    scores = one.scores
    tested = scores.test[metric]
    return [
        one.store,
        scores.level,
        f"{scores.probe} {HYPERPARAMETERS[scores.probe]}={scores.chosen:g}",
        f"{scores.val:.3f}",
        write_score(tested.value, tested.interval),
        _write_difference(one.differences.get(metric)),
    ]


def _write_difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return f"{difference.mean:+.3f} ({format_interval(difference.interval, '+')})"
