"""Show what run, plan, check, repair and doctor found, and remarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from samcache.cache.text import count_are, count_nouns, describe_bytes, list_first
from samcache.commands.show.tables import make_table
from samcache.commands.terminal.hints import add_options

if TYPE_CHECKING:
    from rich.table import Table

    from samcache.cache.format.precision import Precision
    from samcache.cache.labels.duplicates import Duplicates
    from samcache.cache.progress import Remark
    from samcache.commands.show.tables import Part
    from samcache.extract.check import SourceReport
    from samcache.extract.doctor import Finding
    from samcache.extract.images.oddities import Oddities, Tally
    from samcache.extract.plan import Plan
    from samcache.extract.repair import RepairSummary
    from samcache.extract.summary import ExtractSummary

_SHOWN = 20  # lines of each kind of trouble; the JSON has all
_MOST_ACROSS = 10  # classes in one row


# run


def describe_summary(summary: ExtractSummary, quiet: bool = False) -> list[Part]:
    """What a run did; quiet: what was done and what failed, without remarks."""
    parts: list[Part] = [_describe_work(summary)]
    if not quiet:
        parts += [
            *describe_passed_over(summary.passed_over),
            *describe_oddities(summary.oddities),
            *describe_changes(summary),
            *_describe_remarks(summary.remarks),
            *(_describe_precision(summary.precision) if summary.created else ()),
        ]
    if summary.missing:
        parts.append(f"{count_are(summary.missing, 'image')} not committed yet")
    bad = [_describe_reason(*failure) for failure in summary.new_unreadable.items()]
    parts += list_trouble("unreadable image", "recorded in the store", bad)
    if not quiet:
        if summary.accepted:
            images = count_nouns(len(summary.accepted), "unreadable image")
            parts.append(f"{images} accepted as recorded before")
        parts += _describe_copies(summary.duplicates, summary.classes, name_within=False)
    return parts


def summary_to_json(summary: ExtractSummary) -> dict[str, Any]:
    """The summary as plain data."""
    return {
        **_to_json(summary),
        "changes": describe_changes(summary),
        "precision": summary.precision.to_json() if summary.precision else None,
    }


def describe_changes(found: ExtractSummary | Plan) -> list[str]:
    """What has changed in the source, a line for each kind."""
    changes, pruned, limited = found.changes, found.pruned, found.limited
    kept = "dropped" if pruned else "kept unchanged; --prune drops them"
    gone = "outside of --limit: kept" if limited else f"no longer in the source: {kept}"
    redone = "encoded again" if pruned else "kept unchanged; --prune encodes them again"
    followed = "changed" if pruned else "kept unchanged; --prune follows the source"
    corrected = (
        "relabelled"
        if found.relabels
        else "labels kept unchanged; train --labels asks another question, --relabel corrects the "
        "store's own labels"
    )
    texts = {
        "new in the source: added": changes.added,
        gone: changes.removed,
        f"with other bytes in the source: {redone}": changes.changed,
        f"with another class in the source: {corrected}": changes.relabelled,
        f"with another split, group or kept value in the source: {followed}": changes.regrouped,
        "unreadable before, now changed or restored: read again": changes.mended,
        "cannot be read now: kept unchanged": changes.unreachable,
    }
    lines = [
        f"{count_nouns(len(ids), 'image')} {text} ({list_first(ids)})"
        for text, ids in texts.items()
        if ids
    ]
    if changes.uncompared:
        lines.append(
            f"{count_nouns(changes.uncompared, 'stored image')}: not compared with the source's "
            "bytes, as a run of one process does first"
        )
    return lines


def describe_oddities(oddities: Oddities) -> list[str]:
    """A line for each kind of odd images."""
    several, single = oddities.several, oddities.single_colour
    files = "1 file has" if several.count == 1 else f"{several.count} files have"
    found = [
        (several, f"{files} several frames or pages: the first is used"),
        (single, f"{count_are(single.count, 'image')} a single colour"),
    ]
    return [f"{text} (first: {_list_tally(tally)})" for tally, text in found if tally.count]


def describe_passed_over(names: Sequence[str]) -> list[str]:
    """A line on files that are not taken for images; none where all files are images."""
    if not names:
        return []
    files = "1 file was" if len(names) == 1 else f"{len(names)} files were"
    return [f"{files} passed over (first: {_escape_name(names[0])})"]


def list_trouble(noun: str, what: str, found: Sequence[str]) -> list[str]:
    """A heading with the count, and the first lines; nothing where there is none."""
    if not found:
        return []
    more = [f"  … and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    heading = f"{count_nouns(len(found), noun)} {what}:"
    return [heading, *(f"  {text}" for text in found[:_SHOWN]), *more]


def _describe_work(summary: ExtractSummary) -> str:
    timed = summary.encoded and not summary.copied  # else the time is not the encoder's
    rate = f", {summary.encoded / summary.seconds:.1f} images/s" if timed else ""
    copied = f", {summary.copied} copied" if summary.copied else ""
    return (
        f"{count_nouns(summary.samples, 'image')} in the store, {summary.encoded} encoded{copied} "
        f"{summary.worker or 'in this run'} ({summary.seconds:.1f} s{rate}), "
        f"fingerprint {summary.fingerprint[:12]}"
    )


def _describe_precision(precision: Precision | None) -> list[str]:
    """What was measured when the store was made."""
    if precision is None:
        return []
    images = count_nouns(precision.images, "image")
    return [f"against float32 ({images}, {precision.device}):"] + [
        f"  {level}: cosine {mean}, least {least}; error {error} of the greatest value"
        for level, mean, least, error in precision.rows()
    ]


def _describe_copies(
    duplicates: Sequence[Duplicates], classes: tuple[str, ...], name_within: bool
) -> list[str]:
    """Images that occur twice; name_within: list those of one split too, not only their number."""
    across = [same.describe(classes) for same in duplicates if same.leaks]
    within = [same.describe(classes) for same in duplicates if not same.leaks]
    lines = list_trouble("image", "in more than one split", across)
    if name_within:
        return lines + list_trouble("image", "repeated within a split", within)
    repeated = f"{count_nouns(len(within), 'image')} repeated within a split"
    return [*lines, repeated] if within else lines


def _describe_remarks(remarks: Sequence[Remark]) -> list[str]:
    """Why a training would be refused, and what looks wrong in the classes."""
    return [add_options(one.text, one.hint) for one in remarks]


def _describe_reason(name: str, reason: str) -> str:
    """Why an image cannot be read, with the option that helps."""
    from samcache.extract.sources.files.file_source import LINK_OUT

    return f"{name}: {add_options(reason, 'follow_links' if reason == LINK_OUT else '')}"


def _list_tally(tally: Tally) -> str:
    more = ", …" if tally.count > len(tally.first) else ""
    return ", ".join(_escape_name(str(name)) for name in tally.first) + more


def _escape_name(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _to_json(found: ExtractSummary | Plan | SourceReport) -> dict[str, Any]:
    """Plain data, under the keys that readers of earlier versions know."""
    left_out = {"pruned", "relabels", "limited"}
    value = {name: each for name, each in asdict(found).items() if name not in left_out}
    value["remarks"] = _describe_remarks(found.remarks)
    return {"noted" if name == "oddities" else name: each for name, each in value.items()}


# plan


def describe_plan(plan: Plan) -> list[Part]:
    """What a run would write, and how long it would take."""
    state = "exists" if plan.exists else "would be created"
    copied = f", {plan.copied} to copy" if plan.copied else ""
    sizes = [("", path, describe_bytes(size)) for path, size in plan.bytes.items()]
    parts: list[Part] = [
        f"{plan.store} {state}: {count_nouns(plan.images, 'image')}, {plan.rows} to encode{copied}",
        *describe_passed_over(plan.passed_over),
        *describe_changes(plan),
        *_describe_remarks(plan.remarks),
        make_table(sizes),
        f"{describe_bytes(sum(plan.bytes.values()))} in {count_nouns(plan.objects, 'object')} "
        f"({count_nouns(plan.shards, 'shard')})",
    ]
    speed, seconds = plan.speed, plan.seconds
    if speed is not None and seconds is not None:
        parts.append(
            f"about {_describe_duration(seconds)} with {count_nouns(plan.workers, 'worker')}: "
            f"measured on {count_nouns(speed.images, 'image')}, {speed.encode:.3g} s each on "
            f"{speed.device}, {speed.read:.3g} s to read one"
        )
    elif plan.rows:
        parts.append("time unknown: none of the images that were tried can be read")
    return [*parts, "Nothing was written."]


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        **_to_json(plan),
        "total_bytes": sum(plan.bytes.values()),
        "seconds": plan.seconds,
    }


def _describe_duration(seconds: float) -> str:
    """Such as ``3.2 h``."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


# check


def describe_report(report: SourceReport) -> list[Part]:
    """What a source holds: a table of counts, sizes, and a line for each image to look at."""
    images = sum(sum(row.values()) for row in report.counts.values())
    bad = [_describe_reason(*failure) for failure in report.unreadable.items()]
    divided = [f"{group}: {', '.join(splits)}" for group, splits in report.groups.items()]
    return [
        f"{report.name}: {count_nouns(images, 'image')}, splits: {report.split_origin}",
        _count_table(report),
        *_describe_sizes(report.sizes),
        *describe_passed_over(report.passed_over),
        *describe_oddities(report.oddities),
        *_describe_remarks(report.remarks),
        *list_trouble("image", "cannot be read", bad),
        *_describe_copies(report.duplicates, report.classes, name_within=True),
        *list_trouble("group", "in more than one split", divided),
    ]


def report_to_json(report: SourceReport) -> dict[str, Any]:
    """The report as plain data."""
    return _to_json(report)


def _count_table(report: SourceReport) -> Table:
    """Splits by classes; a line for each class where there are many, and only the first classes."""
    counts, classes = report.counts, report.classes
    if len(classes) <= _MOST_ACROSS:
        across = [[split, *row.values(), sum(row.values())] for split, row in counts.items()]
        return make_table(across, ("", *next(iter(counts.values())), "total"))
    rows = [[name, *(row[name] for row in counts.values())] for name in classes]
    rest = [row[1:] for row in rows[_SHOWN:]]
    if rest:
        rows = [*rows[:_SHOWN], [f"and {len(rest)} more", *map(sum, zip(*rest, strict=True))]]
    total = ["total", *(sum(row.values()) for row in counts.values())]
    return make_table([*rows, total], ("", *counts))


def _describe_sizes(sizes: dict[str, int]) -> list[str]:
    common = sorted(sizes.items(), key=lambda item: -item[1])
    shapes = [f"{shape} ({count})" for shape, count in common]
    return [f"sizes: {list_first(shapes)}"] if shapes else []


# repair


def describe_repair(summary: RepairSummary) -> list[str]:
    """One line, and one more for each object that is still damaged."""
    repaired = len(summary.damage) - len(summary.left)
    damaged = count_nouns(len(summary.damage), "damaged object")
    lines = [f"{damaged}, {repaired} repaired; {count_nouns(summary.encoded, 'image')} encoded"]
    if summary.discarded:
        discarded = count_nouns(summary.discarded, "image")
        lines.append(f"{discarded} discarded: samcache extract encodes them again")
    lines += [f"  {one.key} {one.problem}" for one in summary.left]
    if summary.left:
        lines.append("objects that cannot be restored stay as they are; --discard gives them up")
    return lines


# doctor


def make_findings_table(findings: Sequence[Finding]) -> Table:
    """The findings, with what to do below each that needs something."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in findings:
        state = "[green]ok[/green]" if one.ok else "[red]look[/red]"
        table.add_row(state, escape(one.subject), escape(one.found))
        if one.advice:
            table.add_row("", "", f"[bold]{escape(one.advice)}[/bold]")
    return table
