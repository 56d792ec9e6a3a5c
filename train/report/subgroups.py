"""The table of subgroups: how many images each has, its headline metrics, the largest gap."""

from dataclasses import dataclass

from samcache.train.report.facts import ReportedRun
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.scores.format import format_interval
from samcache.train.scores.subgroups import FEWEST, Subgroup, find_largest_gap


@dataclass(frozen=True)
class SubgroupTable:
    """A table for each column; heads: after the value's. gap: the largest, in words, or ""."""

    columns: dict[str, list[tuple[str, list[str]]]]
    heads: list[str]
    gap: str
    rule: str


def describe_subgroups(run: ReportedRun) -> SubgroupTable | None:
    """The table of a run's subgroups; None of a run that has none."""
    if not run.subgroups:
        return None
    kind = choose_report_kind(run)
    columns: dict[str, list[tuple[str, list[str]]]] = {}
    for group in run.subgroups:
        sides = [str(group.positives)] if kind.positives else []
        cells = [str(group.samples), *sides, *_write_metrics(group, kind.compared)]
        columns.setdefault(group.column, []).append((group.value or "(empty)", cells))
    heads = ["Images", *filter(None, [kind.positives])]
    heads += [kind.name_metric(run, metric) for metric in kind.compared]
    gap = find_largest_gap(run.subgroups, kind.headline)
    told = "" if gap is None else f"Largest gap: {gap.describe(kind.headline_title)}."
    rule = f"A subgroup needs {FEWEST} images to have numbers."
    if kind.positives:
        rule = (
            f"A subgroup needs {FEWEST} images of the rarest {kind.nouns[0]} and {FEWEST} others."
        )
    return SubgroupTable(columns, heads, told, rule)


def _write_metrics(group: Subgroup, names: tuple[str, str]) -> list[str]:
    if group.metrics is None:
        return ["too few", "too few"]
    found = [group.metrics.get(name) for name in names]
    return [f"{one.mean:.3f} ({format_interval(one.interval)})" if one else "–" for one in found]
