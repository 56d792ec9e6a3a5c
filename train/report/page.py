"""``samcache report``: run folders to one self-contained HTML page."""

import datetime as dt
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from samcache.cache.files.whole_file import write_file
from samcache.cache.format.samples import SPLITS
from samcache.cache.text import count_nouns, escape_controls
from samcache.train.compare import title_runs
from samcache.train.pictures.overlay import CAUTION as CAUTION_OF_GATES
from samcache.train.pictures.overlay import LEAST_RANGE
from samcache.train.report import words
from samcache.train.report.checks.finding import CAUTION, FINE, PROBLEM, Finding
from samcache.train.report.checks.result import check_run
from samcache.train.report.design import describe
from samcache.train.report.examples import Examples, choose_examples
from samcache.train.report.facts import Facts, ReportedRun, read_facts
from samcache.train.report.figures import draw_figures
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.report.phrases import name_seeds
from samcache.train.report.reproduction import make_commands
from samcache.train.report.subgroups import describe_subgroups
from samcache.train.runs.used_stores import STORES
from samcache.train.scores.format import (
    MOST_CLASSES,
    choose_shown,
    format_interval,
    format_mean,
    format_p,
    format_summary,
    name_selection,
)


@dataclass(frozen=True)
class Written:
    """The file that was written, and what its checks found."""

    out: Path
    size: int
    findings: list[Finding]
    lack: str  # what the examples lack, and why; "" where the store was not read
    no_store: str  # why the run's store was not read

    def count_findings(self, kind: str) -> int:
        """How many of the checks found a "problem" or a "caution"."""
        return sum(finding.kind == kind for finding in self.findings)


def write_report(
    folders: tuple[Path, ...], baseline: Path | None, store: str | None, out: Path
) -> Written:
    """Write the page of a run beside others; ``facts.read_facts`` says which is which.

    Raises ConfigError and StoreError as ``read_facts``.
    """
    facts = read_facts(folders, baseline, store)
    shown, found = choose_examples(facts), check_run(facts)
    html = render(facts, found, shown, make_commands(facts, out))
    write_file(out, html)
    lack = "" if facts.no_store else shown.lack()
    return Written(out, out.stat().st_size, found, lack, facts.no_store)


def render(facts: Facts, found: list[Finding], shown: Examples, reproduce: list[str]) -> str:
    """The page. Everything that comes from data goes through the template's escaping."""
    environment = Environment(
        loader=PackageLoader("samcache.train.report", "."),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    run, kind = facts.run, choose_report_kind(facts.run)
    names = kind.list_names(run)
    metrics, left_out = choose_shown(run.metrics)
    if names is not None:
        metrics = [name for name in metrics if ":" not in name]
    return environment.get_template("page.html").render(
        run=run,
        verdict=[sentence.replace(" %", "\u00a0%") for sentence in words.write_verdict(facts)],
        tiles=[_describe_metric(run, name) for name in kind.tiles if name in run.metrics],
        problems=[finding for finding in found if finding.kind == PROBLEM],
        cautions=[finding for finding in found if finding.kind == CAUTION],
        fine=[finding for finding in found if finding.kind == FINE],
        metrics=[_describe_metric(run, name) for name in metrics],
        left_out=left_out,
        names=names,
        nouns=kind.nouns,
        subject=kind.describe_subject(run),
        compared=[kind.name_metric(run, metric) for metric in kind.compared],
        subgroups=describe_subgroups(run),
        selection=name_selection(run.target.selection),
        selected=f"val_{run.target.selection}",
        trained=[(metric, name_selection(metric)) for metric in kind.compared],
        comparison=_list_comparison(facts),
        fractions=_list_fractions(run),
        figures=draw_figures(facts),
        examples=shown,
        examples_rule=kind.examples,
        settings=_list_settings(run),
        counted=_list_counted([name for name, _ in kind.count_tested(run)]),
        counts=_count_samples(facts),
        card=words.write_model_card(facts),
        count_nouns=count_nouns,
        describe=describe,
        least_range=LEAST_RANGE,
        caution=CAUTION_OF_GATES,
        view=words.describe_view(run),
        resampled=words.describe_resampled(run),
        over_seeds=name_seeds(run),
        commands=reproduce,
        version=version("samcache"),
        today=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def _visible(value: object) -> object:
    """A name whose marks for the direction of writing cannot reorder the page's own words."""
    return (
        escape_controls(value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _describe_metric(run: ReportedRun, name: str) -> dict[str, str]:
    """A metric of the ensemble, and beside it over the seeds."""
    summary, kind = run.metrics[name], choose_report_kind(run)
    return {
        "title": kind.name_metric(run, name),
        "value": f"{summary.mean:.3f}",
        "interval": format_interval(summary.interval),
        "over_seeds": format_summary(run.scores.metrics[name]),
        "definition": kind.define_metric(name),
    }


def _list_comparison(facts: Facts) -> list[dict[str, Any]]:
    """A line a run, the reported one first; nothing where there is one run."""
    if not facts.others:
        return []
    lines, compared = [], choose_report_kind(facts.run).compared
    titles = title_runs([run.run for run in facts.runs])
    for run, title in zip(facts.runs, titles, strict=True):
        cells = []
        for metric in compared:
            row = facts.row(run, metric)
            difference = None
            if row.difference is not None:
                p = "" if row.difference.p is None else format_p(row.difference.p)
                interval = format_interval(row.difference.interval, "+")
                difference = {"mean": f"{row.difference.mean:+.3f}", "interval": interval, "p": p}
            value, interval = format_mean(row.summary), format_interval(row.summary.interval)
            cells.append({"value": value, "interval": interval, "difference": difference})
        lines.append(
            {"run": run, "title": title, "baseline": run is facts.baseline, "cells": cells}
        )
    return lines


def _list_fractions(run: ReportedRun) -> list[dict[str, Any]]:
    compared = choose_report_kind(run).compared
    return [
        {
            "share": f"{100 * scores.fraction:g} %",
            "images": f"{scores.train_samples:.0f}",
            "values": [format_summary(scores.metrics[name]) for name in compared],
        }
        for scores in run.fractions
    ]


def _list_settings(run: ReportedRun) -> dict[str, dict[str, str]]:
    """Everything of config.json, by what it describes; hashes in full."""
    config = {
        name: value for name, value in run.config.items() if name not in ("classes", "samples")
    }
    identity, versions = config.pop("identity"), config.pop("versions")
    features = {
        f"Features of {used['name']} (the store's identity)": used["identity"]
        for used in config.pop(STORES, [])
    } or {"Features (the store's identity)": identity}
    groups = {**features, "Training": config, "Versions": versions}
    return {
        heading: {name: _write_plain(value) for name, value in values.items()}
        for heading, values in groups.items()
    }


def _write_plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} → {_write_part(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def _write_part(value: Any) -> str:
    words = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return " ".join(value) if words else str(value)


def _count_samples(facts: Facts) -> list[tuple[str, list[int]]]:
    """Readable samples of each split by class, from the store; nothing without one.

    Of more than MOST_CLASSES classes the first, then all others together; then all. A store does
    not know a table's labels: of these, the test images.
    """
    run = facts.run
    if run.task or not run.target.graded:
        numbers = [count for _, count in choose_report_kind(run).count_tested(run)]
        return [("test", _shorten_counts(numbers, len(run.labels)))]
    counts: dict[str, dict[str, int]] = facts.described.get("counts", {})
    lines = []
    for split in SPLITS:
        numbers = list(counts.get(split, {}).values())
        lines.append((split, _shorten_counts(numbers, sum(numbers))))
    return [line for line in lines if line[0] in counts]


def _shorten_counts(numbers: list[int], total: int) -> list[int]:
    rest = [sum(numbers[MOST_CLASSES:])] if len(numbers) > MOST_CLASSES else []
    return [*numbers[:MOST_CLASSES], *rest, total]


def _list_counted(names: list[str]) -> list[str]:
    """The heads of ``_count_samples``."""
    more = len(names) - MOST_CLASSES
    return [*names[:MOST_CLASSES], *([f"{more} more"] if more > 0 else []), "All"]
