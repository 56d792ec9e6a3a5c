"""Identical images, and groups in two splits, found from the sample table."""

from dataclasses import dataclass

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.text import count_are


@dataclass(frozen=True)
class Duplicates:
    """Samples whose source bytes are the same, in the store's order."""

    ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def leaks(self) -> bool:
        """Whether the image occurs in more than one split."""
        return len(set(self.splits)) > 1

    def describe(self, classes: tuple[str, ...]) -> str:
        """One line: each copy with its split and, where there are classes, its class."""
        names = (
            [f", {classes[label]}" for label in self.labels] if classes else [""] * len(self.ids)
        )
        copies = zip(self.ids, self.splits, names, strict=True)
        return " = ".join(f"{name} ({split}{of_class})" for name, split, of_class in copies)


def find_duplicates(samples: pd.DataFrame) -> list[Duplicates]:
    """Every set of two or more samples with one SHA-256, those across splits first.

    samples: a store's table with the columns id, split, label and sha256 ("" where unknown), and
    status where images have been tried: unreadable images, such as empty files, are no duplicates.
    """
    known = samples[samples["sha256"] != ""]
    if "status" in known:
        known = known[known["status"] != "unreadable"]
    repeated = known[known["sha256"].duplicated(keep=False)]
    found = [
        Duplicates(tuple(same["id"]), tuple(same["split"]), tuple(map(int, same["label"])))
        for _, same in repeated.groupby("sha256", sort=False)
    ]
    return sorted(found, key=lambda duplicates: not duplicates.leaks)


def find_split_groups(samples: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Groups (patients, lesions) that occur in more than one split, with these splits."""
    named = samples[samples["group"] != ""]
    splits = named.groupby("group")["split"].unique()
    return {str(group): tuple(sorted(found)) for group, found in splits.items() if len(found) > 1}


def find_leaks(samples: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    """Images and groups in more than one split, which make a test score too good; a line each.

    samples: columns id, label (index into ``classes``, where there are any), split, group and
    sha256.
    """
    copies = [same for same in find_duplicates(samples) if same.leaks]
    groups = find_split_groups(samples)
    lines = []
    if copies:
        verb = "image occurs" if len(copies) == 1 else "images occur"
        lines.append(
            f"{len(copies)} {verb} in more than one split, such as {copies[0].describe(classes)}"
        )
    if groups:
        verb = "group (patient) occurs" if len(groups) == 1 else "groups (patients) occur"
        group, splits = next(iter(groups.items()))
        lines.append(
            f"{len(groups)} {verb} in more than one split, such as {group!r} in "
            f"{' and '.join(splits)}"
        )
    return lines


def refuse_split_groups(samples: pd.DataFrame, where: str = "") -> None:
    """Raise SourceError for a group in two splits, which makes the test split too easy.

    where: the beginning of the message, which names the table.
    """
    divided = find_split_groups(samples)
    for group, splits in divided.items():
        raise SourceError(
            f"{where}{count_are(len(divided), 'group')} in more than one split, first {group!r} in "
            f"{' and '.join(splits)}: correct the splits, or accept such groups",
            hint="allow_split_groups",
        )
