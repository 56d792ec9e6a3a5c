"""Compared runs as a table for the terminal, as CSV, or as markdown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from samcache.commands.show.tables import make_table
from samcache.train.runs.csv_cells import guard_cell
from samcache.train.scores.format import format_interval, format_mean, format_p, name_metric

if TYPE_CHECKING:
    from samcache.commands.show.tables import Part
    from samcache.train.compare import Row
    from samcache.train.scores.intervals import Interval

_HEADS = ("run", "fraction", "metric", "mean ± sd", "95 % interval", "difference", "p")


def describe_comparison(rows: list[Row], style: str) -> list[Part]:
    """The table as text, csv (full precision) or markdown."""
    if style == "csv":
        return [_write_csv(rows)]
    cells = [_write_cells(row) for row in rows]
    heads = list(_HEADS)
    if all(row.fraction == 1 for row in rows):
        cells = [[value for place, value in enumerate(line) if place != 1] for line in cells]
        heads.pop(1)
    if any(row.features for row in rows):
        cells = [[row.features, *line] for row, line in zip(rows, cells, strict=True)]
        heads.insert(0, "features")
    if style == "markdown":
        lines = [heads, ["---"] * len(heads), *cells]
        return [f"| {' | '.join(line)} |" for line in lines]
    return [make_table(cells, heads), "", _describe_view(rows[0].seeds)]


def _describe_view(seeds: int) -> str:
    if seeds == 1:
        return (
            "one seed: chance in training is not covered; differences to the baseline are paired "
            "by sample"
        )
    return f"mean ± sd over {seeds} seeds; differences to the baseline are paired by sample"


def _write_cells(row: Row) -> list[str]:
    difference, p = "baseline", ""
    if row.difference is not None:
        interval = format_interval(row.difference.interval, "+")
        difference = f"{row.difference.mean:+.3f} ({interval})"
        p = format_p(row.difference.p)
    middle = [f"{row.fraction:g}", name_metric(row.metric), format_mean(row.summary)]
    return [row.run, *middle, format_interval(row.summary.interval), difference, p]


def _write_csv(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ("run", "fraction", "metric", "seeds", "mean", "sd", "low", "high")
    named = any(row.features for row in rows)
    last = ["features"] * named
    writer.writerow([*heads, "difference", "difference_low", "difference_high", "p", *last])
    for row in rows:
        summary, difference = row.summary, row.difference
        values = [guard_cell(row.run), row.fraction, row.metric, row.seeds]
        values += [summary.mean, summary.sd, *_list_bounds(summary.interval)]
        if difference is not None:
            values += [difference.mean, *_list_bounds(difference.interval), difference.p]
        values += [None] * (len(heads) + 4 - len(values))
        writer.writerow([*values, *[guard_cell(row.features)] * named])
    return out.getvalue().rstrip("\n")


def _list_bounds(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [interval.low, interval.high]
