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
from samcache.train.pictures.overlay import CAUTION as CAUTION_OF_GATES
from samcache.train.pictures.overlay import LEAST_RANGE
from samcache.train.report import words
from samcache.train.report.checks.finding import CAUTION, FINE, PROBLEM, Finding
from samcache.train.report.checks.result import check_run
from samcache.train.report.design import describe
from samcache.train.report.examples import Examples, choose_examples
from samcache.train.report.facts import Facts, ReportedRun, read_facts
from samcache.train.report.figures import draw_figures
from samcache.train.report.reproduction import make_commands
from samcache.train.scores.format import (
    MOST_CLASSES,
    choose_shown,
    format_interval,
    format_mean,
    format_summary,
    name_metric,
)

_TILES = ("auc", "accuracy", "balanced_accuracy", "kappa", "ece")
_COMPARED = ("auc", "accuracy")


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
    run = facts.run
    metrics, left_out = choose_shown(run.metrics)
    return environment.get_template("page.html").render(
        run=run,
        verdict=[sentence.replace(" %", "\u00a0%") for sentence in words.write_verdict(facts)],
        tiles=[_describe_metric(run, name) for name in _TILES if name in run.metrics],
        problems=[finding for finding in found if finding.kind == PROBLEM],
        cautions=[finding for finding in found if finding.kind == CAUTION],
        fine=[finding for finding in found if finding.kind == FINE],
        metrics=[_describe_metric(run, name) for name in metrics],
        left_out=left_out,
        classes=words.list_classes(run.classes),
        compared=[name_metric(metric) for metric in _COMPARED],
        comparison=_list_comparison(facts),
        fractions=_list_fractions(run),
        figures=draw_figures(facts),
        examples=shown,
        settings=_list_settings(run),
        counted=_list_counted(run.classes),
        counts=_count_samples(facts),
        card=words.write_model_card(facts),
        count_nouns=count_nouns,
        describe=describe,
        least_range=LEAST_RANGE,
        caution=CAUTION_OF_GATES,
        view=words.describe_view(run),
        resampled=words.describe_resampled(run),
        over_seeds=words.name_seeds(run),
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
    summary = run.metrics[name]
    return {
        "title": name_metric(name),
        "value": f"{summary.mean:.3f}",
        "interval": format_interval(summary.interval),
        "over_seeds": format_summary(run.scores.metrics[name]),
        "definition": words.define_metric(name),
    }


def _list_comparison(facts: Facts) -> list[dict[str, Any]]:
    """A line a run, the reported one first; nothing where there is one run."""
    if not facts.others:
        return []
    lines = []
    for run in facts.runs:
        cells = []
        for metric in _COMPARED:
            row = facts.row(run, metric)
            difference = None
            if row.difference is not None:
                p = "" if row.difference.p is None else f"{row.difference.p:.3f}"
                interval = format_interval(row.difference.interval, "+")
                difference = {"mean": f"{row.difference.mean:+.3f}", "interval": interval, "p": p}
            value, interval = format_mean(row.summary), format_interval(row.summary.interval)
            cells.append({"value": value, "interval": interval, "difference": difference})
        lines.append({"run": run, "baseline": run is facts.baseline, "cells": cells})
    return lines


def _list_fractions(run: ReportedRun) -> list[dict[str, str]]:
    return [
        {
            "share": f"{100 * scores.fraction:g} %",
            "images": f"{scores.train_samples:.0f}",
            **{name: format_summary(scores.metrics[name]) for name in _COMPARED},
        }
        for scores in run.fractions
    ]


def _list_settings(run: ReportedRun) -> dict[str, dict[str, str]]:
    """Everything of config.json, by what it describes; hashes in full."""
    config = {name: value for name, value in run.config.items() if name != "classes"}
    identity, versions = config.pop("identity"), config.pop("versions")
    groups = {"Features (the store's identity)": identity, "Training": config, "Versions": versions}
    return {
        heading: {name: _write_plain(value) for name, value in values.items()}
        for heading, values in groups.items()
    }


def _write_plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} → {target}" for name, target in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def _count_samples(facts: Facts) -> list[tuple[str, list[int]]]:
    """Readable samples of each split by class, from the store; nothing without one.

    Of more than MOST_CLASSES classes the first, then all others together; then all.
    """
    counts: dict[str, dict[str, int]] = facts.described.get("counts", {})
    lines = []
    for split in SPLITS:
        numbers = list(counts.get(split, {}).values())
        rest = [sum(numbers[MOST_CLASSES:])] if len(numbers) > MOST_CLASSES else []
        lines.append((split, [*numbers[:MOST_CLASSES], *rest, sum(numbers)]))
    return [line for line in lines if line[0] in counts]


def _list_counted(classes: tuple[str, ...]) -> list[str]:
    """The heads of ``_count_samples``."""
    more = len(classes) - MOST_CLASSES
    return [*classes[:MOST_CLASSES], *([f"{more} more"] if more > 0 else []), "All"]
