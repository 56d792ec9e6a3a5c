"""docs/encoders.md from the committed results: every figure and verdict, in the text of page.md.

page.md holds ``{{ name }}`` where a part belongs.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from compared_encoders import (
    BACKBONE_SIZE,
    BASELINE,
    DATASETS,
    ENCODERS,
    EPOCHS,
    FOLDS,
    HERE,
    IMAGE_SIZE,
    METRICS,
    NO_FEATURES,
    SEEDS,
    TRAINED,
    Cell,
    ComparedEncoder,
    list_cells,
)
from verdicts import NAMES, difference, reading

from samcache.cache.text import count_nouns

PAGE = HERE.parents[1] / "docs" / "encoders.md"
NOT_RUN = "not run"
READINGS = ("probe", "training")
READ = {"probe": ENCODERS, "training": TRAINED}
_WHO = ("dataset", "encoder", "reading", "metric")
COLUMNS = {
    "scores": (*_WHO, "mean", "sd", "low", "high"),
    "differences": (*_WHO, "minus", "difference", "low", "high", "p"),
    "settings": ("dataset", "encoder", "features", "probe", "majority", "machine"),
    "costs": ("encoder", "parameters", "seconds", "feature_bytes"),
}
Tables = dict[str, pd.DataFrame]


def make_page(results: Path) -> str:
    """The page's text from a folder of results."""
    tables = read_tables(results)
    parts: dict[str, str] = {
        "findings": _list_findings(tables),
        "auc": _show_scores(tables, "auc"),
        "accuracy": _show_scores(tables, "accuracy"),
        "differences": _show_differences(tables["differences"]),
        "costs": _show_costs(tables["costs"]),
        "exceptions": _describe_exceptions(),
        "probes": _describe_probes(tables["settings"]),
        "folds": str(FOLDS),
        "epochs": str(EPOCHS),
        "image_size": str(IMAGE_SIZE),
        "backbone_size": str(BACKBONE_SIZE),
        "seeds": _join([str(seed) for seed in SEEDS]),
        "machines": "; ".join(tables["settings"]["machine"].unique()) or NOT_RUN,
        "widths": _describe_widths(tables["differences"]),
        "decided": str(
            sum(reading(row) != "undecided" for row in tables["differences"].itertuples())
        ),
        "comparisons": str(len(tables["differences"])),
    }
    text = (HERE / "page.md").read_text("utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], text)


def read_tables(results: Path) -> Tables:
    """Every table by name; a table that is not there yet has no rows."""
    return {
        name: pd.read_csv(path)
        if (path := results / f"{name}.csv").exists()
        else pd.DataFrame(columns=list(columns))
        for name, columns in COLUMNS.items()
    }


def _list_findings(tables: Tables) -> str:
    """What the tables say, in sentences."""
    lines = [
        _describe_signal(tables["scores"]),
        *(_describe_highest(tables["scores"], way) for way in READINGS),
        _describe_ahead(tables["differences"]),
        *(_describe_verdicts(tables["differences"], encoder) for encoder in TRAINED[1:]),
        _describe_gain(tables["scores"]),
        *_describe_costs(tables["costs"]),
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _describe_highest(scores: pd.DataFrame, way: str) -> str:
    """The encoder with the highest AUC on each data set."""
    found = []
    for dataset in DATASETS:
        own = _select(scores, dataset=dataset.name, reading=way, metric="auc")
        if len(own):
            best = own.loc[own["mean"].idxmax()]
            found.append(f"{_find_title(best.encoder)} on {dataset.title} ({best['mean']:.3f})")
    return f"Highest AUC by {way}: {_join(found)}." if found else ""


def _describe_signal(scores: pd.DataFrame) -> str:
    """In how many cells the probe, which reads the features alone, is better than chance."""
    auc = _select(scores, metric="auc", reading="probe")
    if auc.empty:
        return ""
    above, lowest = int((auc["low"] > 0.5).sum()), auc["low"].min()
    return (
        f"The features carry signal in {above} of {len(auc)} cells: by probe, the 95 % interval of "
        f"the AUC lies above 0.5, which is chance (lowest end {lowest:.3f})."
    )


def _describe_ahead(differences: pd.DataFrame) -> str:
    """Whether any encoder is ahead of the baseline in AUC."""
    auc = _select(differences, metric="auc")
    auc = auc[auc["encoder"] != NO_FEATURES.short]
    if auc.empty or (auc["low"] > 0).any():
        return ""
    return f"No encoder is shown to be better than {BASELINE.title} in AUC."


def _describe_verdicts(differences: pd.DataFrame, encoder: ComparedEncoder) -> str:
    """Where an encoder is ahead of the baseline or behind in AUC."""
    rows = _select(differences, encoder=encoder.short, metric="auc")
    if rows.empty:
        return ""
    verdicts = pd.Series([reading(row) for row in rows.itertuples()], rows.index)
    parts = []
    for word, way in product(("ahead", "behind"), READINGS):
        own = set(_select(rows[verdicts == word], reading=way)["dataset"])
        if own:
            titles = [dataset.title for dataset in DATASETS if dataset.name in own]
            parts.append(f"{word} by {way} on {_join(titles)}")
    if undecided := int((verdicts == "undecided").sum()):
        which = "all" if undecided == len(rows) else "the other"
        parts.append(f"undecided in {which} {undecided}")
    compared = count_nouns(len(rows), "comparison")
    title = encoder.title[:1].upper() + encoder.title[1:]
    return f"**{title}** against {BASELINE.title}, {compared} in AUC: {'; '.join(parts)}."


def _describe_gain(scores: pd.DataFrame) -> str:
    """How often training has a higher AUC than the probe."""
    means = _select(scores, metric="auc").pivot_table(
        index=["dataset", "encoder"], columns="reading", values="mean"
    )
    if not set(READINGS) <= set(means):
        return ""
    both = means.dropna()
    higher = int((both["training"] > both["probe"]).sum())
    return (
        f"Training has a higher AUC than the probe in {higher} of {len(both)} cells. This "
        "difference has no interval."
    )


def _describe_costs(costs: pd.DataFrame) -> Iterator[str]:
    """Each encoder's time and bytes as multiples of the baseline's."""
    known = costs.set_index("encoder")
    if BASELINE.short not in known.index:
        return
    base = known.loc[BASELINE.short]
    parts = []
    for encoder in ENCODERS[1:]:
        if encoder.short in known.index:
            ratio = known.loc[encoder.short] / base
            parts.append(f"{encoder.title} {ratio.seconds:.2g} and {ratio.feature_bytes:.2g}")
    yield f"Time and bytes for an image, as multiples of {BASELINE.title}'s: {_join(parts)}."


def _show_scores(tables: Tables, metric: str) -> str:
    rows = []
    for way in READINGS:
        own = _select(tables["scores"], reading=way, metric=metric)
        best = {name: group["mean"].max() for name, group in own.groupby("dataset")}
        for encoder in READ[way]:
            cells = _find_cells(own, encoder, lambda row, best=best: _show_score(row, best))
            rows.append([way, encoder.title, *cells])
    if metric == "accuracy":
        rows.append(["none", "always the commonest class", *_list_majorities(tables["settings"])])
    return _make_table(["read by", "encoder", *(one.title for one in DATASETS)], rows)


def _show_score(row: Any, best: dict[str, float]) -> str:
    mean = f"{row.mean:.3f}"
    return (
        f"{f'**{mean}**' if row.mean == best[row.dataset] else mean} ({row.low:.3f}-{row.high:.3f})"
    )


def _list_majorities(settings: pd.DataFrame) -> list[str]:
    known = settings.groupby("dataset")["majority"].first()
    return [f"{known[one.name]:.3f}" if one.name in known else NOT_RUN for one in DATASETS]


def _show_differences(differences: pd.DataFrame) -> str:
    rows = []
    for metric in METRICS:
        for way in READINGS:
            own = _select(differences, reading=way, metric=metric)
            for encoder in READ[way][1:]:
                cells = _find_cells(own, encoder, _show_difference)
                rows.append([NAMES[metric], way, encoder.title, *cells])
    return _make_table(["metric", "read by", "encoder", *(one.title for one in DATASETS)], rows)


def _show_difference(row: Any) -> str:
    verdict = reading(row)
    text = f"{difference(row)}, {verdict}"
    return text if verdict == "undecided" else f"**{text}**"


def _show_costs(costs: pd.DataFrame) -> str:
    known = costs.set_index("encoder")
    rows = []
    for encoder in ENCODERS:
        if encoder.short in known.index:
            own = known.loc[encoder.short]
            figures = [
                f"{own.parameters / 1e6:.1f} million",
                f"{own.seconds * 1000:.0f} ms",
                f"{own.feature_bytes / 1e3:.0f} kB",
            ]
        else:
            figures = [NOT_RUN] * 3
        rows.append([encoder.title, f"`{encoder.name}`", *figures])
    return _make_table(["encoder", "`--encoder`", "parameters", "time", "features"], rows)


def _describe_widths(differences: pd.DataFrame) -> str:
    """How far the intervals in AUC extend, the narrowest and the widest."""
    own = _select(differences, metric="auc")
    halves = (own["high"] - own["low"]) / 2
    return f"{halves.min():.3f} to {halves.max():.3f}" if len(own) else NOT_RUN


def _describe_exceptions() -> str:
    """Which features were made from images of another size."""
    others = [cell for cell in list_cells() if cell.image_size != IMAGE_SIZE]
    return "".join(
        f" {cell.encoder.title} sees {cell.dataset.title} at {cell.image_size} px, for time."
        for cell in others
    )


def _describe_probes(settings: pd.DataFrame) -> str:
    """Which probes were chosen, and how often."""
    chosen = settings.groupby(["probe", "features"]).size().sort_values(ascending=False)
    named = [
        f"{_NAMES[probe]} on {_FEATURES.get(features, f'level {features}')} ({count})"
        for (probe, features), count in chosen.items()
    ]
    return f"Chosen were: {_join(named)}." if named else ""


_NAMES = {"logistic": "logistic regression", "kNN": "nearest neighbours"}
_FEATURES = {"all": "the means of all levels", "+spread": "the means and spreads of all levels"}


def _find_cells(
    table: pd.DataFrame, encoder: ComparedEncoder, show: Callable[[Any], str]
) -> Iterator[str]:
    """An encoder's cell of each data set."""
    for dataset in DATASETS:
        found = _select(table, dataset=dataset.name, encoder=encoder.short)
        text = NOT_RUN if found.empty else show(next(found.itertuples()))
        size = Cell(dataset, encoder).image_size
        yield text if size == IMAGE_SIZE else f"{text}, {size} px"


def _select(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def _find_title(short: str) -> str:
    return next(encoder.title for encoder in TRAINED if encoder.short == short)


def _join(words: list[str]) -> str:
    """Such as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _make_table(heads: Iterable[str], rows: list[list[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
