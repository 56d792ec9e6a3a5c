"""Show what the ``samcache cache`` commands found or did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from samcache.cache.format.pixel_options import PixelOptions
from samcache.cache.format.precision import Precision
from samcache.cache.text import count_nouns, describe_bytes, list_first

if TYPE_CHECKING:
    from samcache.cache.care.copy import CopySummary
    from samcache.cache.care.damage.open_damaged import Damage
    from samcache.cache.care.diff import Difference
    from samcache.cache.care.gc import Garbage
    from samcache.cache.care.listing import StoreRow
    from samcache.cache.care.verify import Report

_SHOWN = 10  # ids or keys of each kind; the JSON has all
_MOST_ACROSS = 10  # classes in one row
_MOST_CLASSES = 20  # with a line of their own
_HASH = 64  # characters of a SHA-256


def make_info(description: dict[str, Any]) -> Group:
    """A store's description as tables; hashes are cut to 16 digits."""
    parts: list[Table | str] = [
        _make_head(description),
        "",
        _make_count_table(description["counts"]),
        "",
        _make_array_table(description),
    ]
    if precision := Precision.from_provenance(description["provenance"]):
        parts += ["", _make_precision_table(precision)]
    if unreadable := description["unreadable"]:
        bad = _make_table("unreadable", "reason")
        for name, reason in unreadable.items():
            bad.add_row(escape(name), escape(reason))
        parts += ["", bad]
    return Group(*parts)


def _make_head(description: dict[str, Any]) -> Table:
    identity, shards = description["identity"], description["shards"]
    missing, repeated = description["missing"], len(description["duplicates"])
    state = f"{count_nouns(missing, 'image')} missing, run extract again" if missing else "complete"
    encoder = f"{identity['encoder']} at {identity['image_size']} px, pool {identity['pool']}"
    lines = [
        (description["dataset"]["name"], state),
        ("fingerprint", description["fingerprint"][:16]),
        ("encoder", encoder),
        ("weights", f"SHA-256 {identity['weights'][:16]}"),
        ("images", f"{description['readable']} readable of {description['samples']}"),
        (
            "duplicates",
            f"{count_nouns(repeated, 'image')} occurring more than once, {description['leaks']} of "
            "them across splits",
        ),
        (
            "shards",
            f"{shards['committed']} of {shards['total']}, "
            f"{count_nouns(shards['rows_each'], 'image')} each",
        ),
    ]
    options = PixelOptions.from_record(description["provenance"])
    if options and options.frames:
        lines.append(("DICOM frames", f"--frames {options.frames}"))
    if not description["dataset"]["classes"]:
        lines.append(("labels", "none: train takes them from a table (--labels)"))
    if kept := description["kept_columns"]:
        lines.append(("kept columns", ", ".join(kept)))
    if emptied := description["classes_without_images"]:
        lines.append(("left out", f"classes without images: {', '.join(emptied)}"))
    table = _make_table("", "")
    for name, text in lines:
        table.add_row(escape(name), escape(text))
    return table


def _make_count_table(counts: dict[str, dict[str, int]]) -> Table:
    classes = list(next(iter(counts.values()), {}))
    if len(classes) > _MOST_ACROSS:
        return _make_long_count_table(classes, counts)
    table = _make_table("split", *map(escape, classes), "total", numbers_from=1)
    for split, row in counts.items():
        table.add_row(split, *map(str, row.values()), str(sum(row.values())))
    return table


def _make_long_count_table(classes: list[str], counts: dict[str, dict[str, int]]) -> Table:
    """A line a class; of many classes the first, and the rest together."""
    table = _make_table("class", *counts, numbers_from=1)
    for name in classes[:_MOST_CLASSES]:
        table.add_row(escape(name), *(str(row[name]) for row in counts.values()))
    if rest := classes[_MOST_CLASSES:]:
        others = (sum(row[name] for name in rest) for row in counts.values())
        table.add_row(f"and {len(rest)} more", *map(str, others))
    table.add_row("total", *(str(sum(row.values())) for row in counts.values()))
    return table


def _make_array_table(description: dict[str, Any]) -> Table:
    table = _make_table("array", "shape", "type", "MB", numbers_from=3)
    arrays = dict(description["levels"])
    if description["images"]["shape"]:
        arrays["images"] = {**description["images"], "dtype": "uint8"}
    for name, entry in arrays.items():
        shape = " x ".join(map(str, entry["shape"]))
        table.add_row(name, shape, entry["dtype"], f"{entry['bytes'] / 1e6:.1f}")
    return table


def _make_precision_table(precision: Precision) -> Table:
    images = f"against float32, {count_nouns(precision.images, 'image')} on {precision.device}"
    table = _make_table(escape(images), "cosine", "least", "error", numbers_from=1)
    for level, *figures in precision.rows():
        table.add_row(escape(level), *figures)
    return table


def _make_table(*columns: str, numbers_from: int | None = None) -> Table:
    table = Table(box=None, show_header=any(columns), padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        right = numbers_from is not None and place >= numbers_from
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def make_listing(rows: Sequence[StoreRow], root: str) -> Group:
    """Stores as a table, their locations relative to ``root``, and then their problems."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("store", "data set"):
        table.add_column(name, overflow="fold")
    for name in ("encoder", "levels"):
        table.add_column(name, min_width=6)
    for name in ("images", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("state", "identity"):
        table.add_column(name, min_width=8)
    table.add_column("committed", no_wrap=True)
    for row in rows:
        name = escape(row.location.removeprefix(f"{root.rstrip('/')}/"))
        if row.problem:
            table.add_row(name, *[""] * 5, f"[red]{row.state}[/red]" if row.broken else row.state)
            continue
        table.add_row(
            name,
            escape(row.dataset),
            escape(f"{row.encoder} {row.image_size} px"),
            escape(" ".join(row.levels)),
            str(row.samples),
            describe_bytes(row.bytes),
            f"{count_nouns(row.missing, 'shard')} missing" if row.missing else "complete",
            row.fingerprint[:8],
            _format_date(row.last_commit),
        )
    return Group(table, *("\n" + escape(row.problem) for row in rows if row.problem))


def _format_date(seconds: int | None) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds)) if seconds is not None else ""


def describe_report(report: Report) -> str:
    """A verdict, a line for each damaged object and lost sample, and samples without a commit."""
    checked = "sizes compared" if report.fast else "every byte read"
    lines = []
    if report.damage:
        damaged = count_nouns(len(report.damage), "damaged object")
        lines += [f"{report.location}: {damaged} ({checked})"]
        lines += [
            f"  {damage.key} {damage.problem}{_describe_cost(damage)}" for damage in report.damage
        ]
        if report.lost:
            lost = count_nouns(len(report.lost), "sample")
            lines += [f"{lost} lost:", *(f"  {name}" for name in report.lost)]
        lines.append("samcache cache repair restores them from the source")
    else:
        amount = f"{count_nouns(report.shards, 'shard')}, {report.bytes / 1e6:.1f} MB"
        verdict = "every commit is whole" if report.uncommitted else "no damage"
        lines.append(f"{report.location}: {verdict} ({amount}, {checked}, {report.seconds:.1f} s)")
    if report.uncommitted:
        lines.append(
            f"{count_nouns(len(report.uncommitted), 'sample')} without a commit record: "
            f"{list_first(report.uncommitted, _SHOWN)}: samcache extract encodes them"
        )
    if report.interrupted and not report.damage:
        lines.append(
            "The store is unfinished: a command that adds samples was interrupted or is still "
            "running: run the same command again"
        )
    return "\n".join(lines)


def _describe_cost(damage: Damage) -> str:
    return f": costs {count_nouns(len(damage.rows), 'sample')}" if damage.rows else ""


def describe_copy(summary: CopySummary) -> str:
    """One line, and one for each object that could not be copied."""
    lines = [
        f"{summary.destination}: {count_nouns(summary.shards, 'shard')} copied "
        f"({describe_bytes(summary.bytes)} in {summary.seconds:.1f} s), "
        f"{summary.standing} were there"
    ]
    if summary.damaged:
        objects = count_nouns(len(summary.damaged), "object")
        lines.append(f"{objects} of {summary.source} could not be copied:")
        lines += [f"  {key} {problem}" for key, problem in summary.damaged.items()]
    return "\n".join(lines)


def describe_difference(difference: Difference) -> str:
    """What differs: a line for each field and for the first samples of each kind."""
    lines = [f"A {difference.a}", f"B {difference.b}"]
    for title, changes in (
        ("identity", difference.identity),
        ("data set", difference.dataset),
        ("level", difference.level_shapes),
    ):
        lines += [f"{title} {c.name}: {_shorten(c.a)} in A, {_shorten(c.b)} in B" for c in changes]
    lines += _list_samples("only in A", difference.only_a)
    lines += _list_samples("only in B", difference.only_b)
    for name in dict.fromkeys(change.name for change in difference.samples):
        found = [change for change in difference.samples if change.name == name]
        texts = [f"{c.id}: {_shorten(c.a)} in A, {_shorten(c.b)} in B" for c in found]
        lines += _list_samples(f"with another {name}", texts)
    for path, ids in difference.features.items():
        lines += _list_samples(f"in shards whose {path} differ", ids)
    if difference.same:
        compared = count_nouns(difference.compared, "sample")
        lines.append(f"no difference; arrays of {compared} have the same recorded checksums")
    if difference.uncompared:
        lines.append(
            f"arrays of {count_nouns(difference.uncompared, 'sample')} could not be compared: they "
            "are in other places in A than in B"
        )
    return "\n".join(lines)


def _list_samples(what: str, texts: Sequence[str]) -> list[str]:
    """A heading with the count of samples, and the first few."""
    return [f"{count_nouns(len(texts), 'sample')} {what}:", *_indent(texts)] if texts else []


def _indent(texts: Sequence[str]) -> list[str]:
    """A line for each of the first few texts, and one for the rest together."""
    rest = len(texts) - _SHOWN
    return [f"  {text}" for text in texts[:_SHOWN]] + ([f"  … and {rest} more"] * (rest > 0))


def _shorten(value: Any) -> str:
    """A value in a line of text: hashes cut, lists joined."""
    if isinstance(value, str):
        return f"{value[:12]}…" if len(value) == _HASH else value or '""'
    if isinstance(value, tuple | list):
        shown = [str(item) for item in value[:_SHOWN]]
        return ",".join([*shown, "…"] if len(value) > _SHOWN else shown) or "none"
    return str(value)


def describe_garbage(garbage: Sequence[Garbage]) -> str:
    """A heading for each kind with its number and bytes, and the first few keys."""
    lines = []
    for why in dict.fromkeys(one.why for one in garbage):
        same = [one for one in garbage if one.why == why]
        size = describe_bytes(sum(one.bytes for one in same))
        lines.append(f"{count_nouns(len(same), 'object')}, {size}: {why}")
        lines += _indent([one.key for one in same])
    return "\n".join(lines) or "nothing to collect"


def list_garbage(garbage: Sequence[Garbage]) -> dict[str, Any]:
    """Everything as plain data; ``bytes`` is what removing it frees."""
    return {
        "bytes": sum(one.bytes for one in garbage if not one.unknown),
        "garbage": [asdict(one) for one in garbage if not one.unknown],
        "unknown": [asdict(one) for one in garbage if one.unknown],
    }
