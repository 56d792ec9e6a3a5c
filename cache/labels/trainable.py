"""The conditions of training: train refuses by them, and extract reports them beforehand."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd

from samcache.cache.format.description import DRAWN
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.classes import (
    are_identifiers,
    are_measurements,
    find_look_alikes,
    find_missing_labels,
    list_unused_classes,
    list_used_classes,
    quote_names,
)
from samcache.cache.labels.units import number_units
from samcache.cache.text import count_nouns

LEAST_FOR_FOLDS = 4  # images or patients of each class: two folds, with train and val in the rest
_USUAL_FOLDS = 5
_SHOWN = 3  # sets of look-alike classes that a way out names

Way = tuple[str, str]  # what helps, and the parameter for it or ""


@dataclass(frozen=True)
class Trainability:
    """Whether a sample table can be trained on.

    problems: why a training is refused; ways_out: what helps, the simplest first; remarks: what a
    training accepts and a person should look at; hint: as of SamcacheError, for the ways out.
    """

    how: str  # such as "by its own splits"
    problems: tuple[str, ...]
    ways_out: tuple[str, ...]
    remarks: tuple[str, ...]
    hint: str = ""

    def explain_refusal(self) -> str:
        """All problems and ways out, to follow a name; "" where nothing is refused."""
        if not self.problems:
            return ""
        ways = f". What helps: {'; or '.join(self.ways_out)}" if self.ways_out else ""
        return f"cannot be trained {self.how}: {'; '.join(self.problems)}{ways}"

    def list_lines(self, name: str) -> list[str]:
        """Everything, a line each."""
        refused = [f"{name} {self.explain_refusal()}"] if self.problems else []
        return [*refused, *self.remarks]


_UNLABELLED = Trainability(
    "by labels of its own",
    ("it has none",),
    ("train with a table of labels and the column with the answer",),
    (),
    "labels+target",
)


def check_trainability(
    samples: pd.DataFrame,
    classes: tuple[str, ...],
    split_origin: str,
    folds: int | None = None,
    count_missing: bool = True,
) -> Trainability:
    """Whether a table can be trained on, by its splits or in cross-validation.

    samples: columns id, label (index into ``classes``), split, group, and where they are known
    sha256 and status. Without classes there is nothing to train on. Unreadable images do not
    count, and those that are not extracted yet only with ``count_missing``. Classes without any
    sample are left out.
    """
    if not classes:
        return _UNLABELLED
    used = list_used_classes(samples, classes)
    names = np.array(classes, dtype=object)[samples["label"].to_numpy()]
    whole = samples.assign(name=names)
    table = whole[_select_usable(samples, count_missing)]
    drawn = DRAWN in split_origin  # stores that were merged have several origins
    if folds:
        how, found = f"in {folds} folds", _find_fold_problems(_add_units(table), used, folds)
    else:
        how = "by the drawn splits" if drawn else "by its own splits"
        found = chain(_find_empty_splits(table), _find_missing_classes(table, used))
    problems = (*_find_one_class(used), *found)
    if problems:
        problems = (*_count_unreadable(samples), *problems)
    ways = tuple(_find_ways_out(_add_units(table), used, drawn, folds)) if problems else ()
    return Trainability(
        how,
        problems,
        tuple(text for text, _ in ways),
        tuple(_find_remarks(whole, classes)),
        " ".join(hint for _, hint in ways if hint),
    )


def _add_units(table: pd.DataFrame) -> pd.DataFrame:
    """With what must stay together; of a million samples this takes ten seconds."""
    return table.assign(unit=number_units(table))


def _select_usable(samples: pd.DataFrame, count_missing: bool) -> npt.NDArray[np.bool_]:
    """Which samples count, (n,)."""
    if "status" not in samples:
        return np.ones(len(samples), np.bool_)
    status = samples["status"].to_numpy()
    usable: npt.NDArray[np.bool_] = (status == "ok") | (count_missing & (status == "missing"))
    return usable


def _count_unreadable(samples: pd.DataFrame) -> Iterator[str]:
    """The first cause of empty splits and missing classes, where images cannot be read."""
    bad = int((samples["status"] == "unreadable").sum()) if "status" in samples else 0
    if bad:
        yield f"{bad} of {count_nouns(len(samples), 'image')} cannot be read"


def _find_one_class(used: tuple[str, ...]) -> Iterator[str]:
    if len(used) < 2:
        yield f"all samples are of one class, {quote_names(used)}: training needs at least two"


def _find_empty_splits(table: pd.DataFrame) -> Iterator[str]:
    empty = [split for split in SPLITS if not (table["split"] == split).any()]
    if empty:
        verb = "is" if len(empty) == 1 else "are"
        yield f"{_describe_few_groups(table)}{_join_names(empty)} {verb} empty"


def _describe_few_groups(table: pd.DataFrame) -> str:
    """The cause of empty splits where patients are fewer: "1 patient in 30 images: "."""
    groups = table["group"].nunique()
    if (table["group"] == "").any() or groups >= len(SPLITS) or len(table) <= groups:
        return ""
    return f"{count_nouns(groups, 'patient')} in {count_nouns(len(table), 'image')}: "


def _find_missing_classes(table: pd.DataFrame, used: tuple[str, ...]) -> Iterator[str]:
    """A text for each set of splits that lack classes; empty splits, which lack all, aside."""
    held = set(zip(table["name"], table["split"], strict=True))
    filled = [split for split in SPLITS if (table["split"] == split).any()]
    lacking: dict[str, list[str]] = {}
    for name in used:
        splits = _join_names([split for split in filled if (name, split) not in held])
        lacking.setdefault(splits, []).append(name)
    lacking.pop("", None)
    for splits, names in lacking.items():
        yield f"{_describe_classes(tuple(names))} missing from {splits}"


def _join_names(names: list[str]) -> str:
    """Such as "train, val and test"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _describe_classes(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"class {quote_names(names)} is"
    return f"{len(names)} classes ({quote_names(names)}) are"


def _find_fold_problems(table: pd.DataFrame, used: tuple[str, ...], folds: int) -> Iterator[str]:
    units = _count_units(table, used)
    needed = max(folds, LEAST_FOR_FOLDS)
    if units.min() < needed:
        what = count_nouns(int(units.min()), _name_unit(table))
        cause, name = _describe_few_groups(table), str(units.idxmin())
        yield f"{cause}class {name!r} has {what}, {needed} are needed"


def _name_unit(table: pd.DataFrame) -> str:
    return "patient" if (table["group"] != "").all() else "image"


def _count_units(
    table: pd.DataFrame, used: tuple[str, ...], column: str = "unit"
) -> "pd.Series[int]":
    """Class -> in how many units (patients, or images without their copies) it occurs."""
    units: pd.Series[int] = table.groupby("name")[column].nunique()
    return units.reindex(list(used), fill_value=0)


def _find_ways_out(
    table: pd.DataFrame, used: tuple[str, ...], drawn: bool, folds: int | None
) -> Iterator[Way]:
    if table.empty:
        yield "make the images readable: each has its reason", ""
        return
    mistakes = tuple(_find_mistaken_labels(table, used))
    yield from mistakes
    if len(used) < 2 or are_measurements(used, len(table)):
        return
    units, images = int(_count_units(table, used).min()), int(_count_units(table, used, "id").min())
    if folds and units >= LEAST_FOR_FOLDS:
        yield f"use at most {units} folds", "folds"
    elif units >= LEAST_FOR_FOLDS:
        yield f"train in {min(_USUAL_FOLDS, units)} folds", "folds"
    if (table["group"] != "").any() and units < LEAST_FOR_FOLDS <= images:
        yield (
            "extract into another store without a group column, if the images are of several "
            "patients",
            "group_column",
        )
    if drawn and not folds and units >= len(SPLITS):
        yield "extract into another store with another split seed", "split_seed"
    if not drawn and not folds:
        yield "add images to the splits that lack them", ""
    if not drawn and not folds and units >= len(SPLITS):
        yield "leave the splits out of the source, so that samcache draws them", ""
    if units < LEAST_FOR_FOLDS and not mistakes:
        yield "add images or patients of the rarest class", ""


def _find_mistaken_labels(table: pd.DataFrame, used: tuple[str, ...]) -> Iterator[Way]:
    """What helps where labels look wrong, before anything else does."""
    if are_measurements(used, len(table)):
        yield "train with the kind number, or group the numbers into a few classes", "kind"
        return
    if are_identifiers(used, len(table)):
        yield "name the column of the classes, if the labels are not classes", "label_column"
    for alike in find_look_alikes(used)[:_SHOWN]:
        yield f"give {' and '.join(map(repr, alike))} one name", ""
    if find_missing_labels(used):
        yield f"give the images of class {quote_names(find_missing_labels(used))} a label", ""


def _find_remarks(table: pd.DataFrame, classes: tuple[str, ...]) -> Iterator[str]:
    used = list_used_classes(table, classes)
    if emptied := list_unused_classes(table, classes):
        yield f"no image is of class {quote_names(emptied)}: training leaves the class out"
    if are_measurements(used, len(table)):
        yield (
            f"{len(used)} different numbers are read as classes ({quote_names(used)}): they look "
            "like measurements: train with the kind number, or group them into a few classes"
        )
        return
    if several := tuple(name for name in used if "|" in name):
        yield (
            f"class {quote_names(several)} looks like several findings of one image: train with "
            "the kind multilabel"
        )
    counts = table["name"].value_counts()
    for alike in find_look_alikes(used):
        shown = ", ".join(f"{name!r} ({count_nouns(int(counts[name]), 'image')})" for name in alike)
        yield f"classes that look alike: {shown}: if they are one class, give them one name"
    for name in find_missing_labels(used):
        yield (
            f"class {name!r} ({count_nouns(int(counts[name]), 'image')}) "
            "looks like a missing label: give these images a class, or leave them out"
        )
