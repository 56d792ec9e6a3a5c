"""``samcache extract SOURCE --check``: read every image, encode nothing, and tell what is there."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from samcache.cache.errors import ImageError
from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.duplicates import Duplicates, find_duplicates, split_groups
from samcache.cache.text import count_nouns
from samcache.extract.images.remarks import NOTHING, Noted, is_single_colour
from samcache.extract.pipeline.progress import encoding_progress, tell
from samcache.extract.remarks import training_remarks
from samcache.extract.sources.base import Source, told_passed_over
from samcache.extract.sources.splits import keep_copies_together

_MOST_ACROSS = 10  # classes in one row
_SHOWN = 20  # of each kind of trouble; the JSON has all


@dataclass(frozen=True)
class SourceReport:
    """What a source holds.

    counts: split -> class -> images; sizes: "height x width" -> images; unreadable: id -> reason;
    groups: group -> its splits, where it stands in more than one; passed_over: files that are not
    taken for images; noted: of images that can be read.
    """

    name: str
    classes: tuple[str, ...]
    split_origin: str
    counts: dict[str, dict[str, int]]
    sizes: dict[str, int]
    unreadable: dict[str, str]
    duplicates: list[Duplicates]
    groups: dict[str, tuple[str, ...]]
    passed_over: tuple[str, ...]
    noted: Noted
    remarks: tuple[str, ...] = ()  # why training would be refused, and odd classes

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def text(self) -> str:
        """A table of counts, the sizes, and a line for each image or group that needs a look."""
        lines = [
            f"{self.name}: {count_nouns(self._total(), 'image')}, splits: {self.split_origin}",
            *self._table(),
            *self._sizes(),
        ]
        lines += [*told_passed_over(self.passed_over), *self.noted.lines(), *self.remarks]
        bad = [f"{name}: {reason}" for name, reason in self.unreadable.items()]
        lines += listed("image", "cannot be read", bad)
        across = [same.text(self.classes) for same in self.duplicates if same.leaks]
        within = [same.text(self.classes) for same in self.duplicates if not same.leaks]
        lines += listed("image", "in more than one split", across)
        lines += listed("image", "repeated within a split", within)
        divided = [f"{group}: {', '.join(splits)}" for group, splits in self.groups.items()]
        lines += listed("group", "in more than one split", divided)
        return "\n".join(lines)

    def _total(self) -> int:
        return sum(sum(row.values()) for row in self.counts.values())

    def _table(self) -> list[str]:
        """Splits by classes; a line a class where they are many, and of very many the first."""
        table = pd.DataFrame(self.counts).T.reindex(columns=list(self.classes))
        table["total"] = table.sum(axis=1)
        if len(self.classes) > _MOST_ACROSS:
            table = _first_and_rest(table.T)
        return table.to_string().splitlines()

    def _sizes(self) -> list[str]:
        shapes = sorted(self.sizes.items(), key=lambda item: -item[1])
        told = ", ".join(f"{shape} ({count})" for shape, count in shapes[:5])
        more = f" and {len(shapes) - 5} more" if len(shapes) > 5 else ""
        return [f"sizes: {told}{more}"] if shapes else []


def check_source(
    source: Source, console: Console, split_seed: int = 0, limited: bool = False
) -> SourceReport:
    """Read and decode every image of a source; its remarks and progress go to ``console``.

    split_seed: of splits that were drawn; limited: whether the source was reduced by --limit.
    """
    tell(console, source.remarks)
    rows = range(len(source.samples))
    with encoding_progress(console) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        task = progress.add_task("reading", total=len(rows))

        def read(row: int) -> tuple[str, str, str, Noted]:
            found = _read(source, row)
            progress.advance(task)
            return found

        columns = ["sha256", "size", "reason", "noted"]
        found = pd.DataFrame(pool.map(read, rows), columns=columns)
    noted = sum(found.pop("noted"), NOTHING)
    samples = source.samples.assign(**found)
    if source.split_origin.startswith(DRAWN):
        samples["split"] = keep_copies_together(source.samples, list(found["sha256"]), split_seed)
    status = np.where(samples["reason"] == "", "ok", "unreadable")
    how = source.classes, source.split_origin, limited
    bad = samples[samples["reason"] != ""]
    sizes = samples.loc[samples["reason"] == "", "size"].value_counts()
    return SourceReport(
        source.name,
        source.classes,
        source.split_origin,
        _counts(samples, source.classes),
        {str(size): int(count) for size, count in sizes.items()},
        dict(zip(bad["id"], bad["reason"], strict=True)),
        find_duplicates(samples),
        split_groups(samples),
        source.passed_over,
        noted,
        tuple(training_remarks(source.name, samples.assign(status=status), *how)),
    )


def _read(source: Source, row: int) -> tuple[str, str, str, Noted]:
    """SHA-256, size, the reason why it could not be read, and what is noted, of one image."""
    sha256 = ""
    try:
        image = source.image(row)
        sha256 = image.sha256
        decoded = image.decode()
    except ImageError as error:
        return sha256, "", str(error), NOTHING
    name = source.samples["id"].iloc[row]
    noted = Noted.of(name, image.several(), is_single_colour(decoded))
    return sha256, f"{decoded.height} x {decoded.width}", "", noted


def _counts(samples: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    counts = {}
    for split in SPLITS:
        labels = samples.loc[samples["split"] == split, "label"].to_numpy()
        number = np.bincount(labels, minlength=len(classes))
        counts[split] = {name: int(n) for name, n in zip(classes, number, strict=True)}
    return counts


def _first_and_rest(table: pd.DataFrame) -> pd.DataFrame:
    """Classes by splits with the total last: the first classes, and all others in one line."""
    rest = table.iloc[_SHOWN:-1]
    if rest.empty:
        return table
    others = rest.sum().to_frame(f"and {len(rest)} more").T
    return pd.concat([table.iloc[:_SHOWN], others, table.iloc[-1:]])


def listed(noun: str, what: str, found: list[str]) -> list[str]:
    """A heading with the count and the first few; nothing where there is none."""
    if not found:
        return []
    more = [f"  … and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [
        f"{count_nouns(len(found), noun)} {what}:",
        *(f"  {text}" for text in found[:_SHOWN]),
        *more,
    ]
