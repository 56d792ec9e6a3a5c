"""Identical images and divided groups are found from the sample table."""

import pandas as pd

from samcache.cache.labels.duplicates import find_duplicates, find_split_groups


def table(*rows: tuple[str, int, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "label", "split", "group", "sha256"])


def test_copies_are_found_and_those_across_splits_come_first() -> None:
    samples = table(
        ("a", 0, "train", "", "x"),
        ("b", 0, "train", "", "x"),
        ("c", 1, "train", "", "y"),
        ("d", 0, "test", "", "y"),
        ("e", 0, "test", "", "z"),
        ("f", 0, "test", "", ""),
        ("g", 0, "train", "", ""),
    )
    across, within = find_duplicates(samples)
    assert across.ids == ("c", "d")
    assert across.leaks
    assert across.describe(("no", "yes")) == "c (train, yes) = d (test, no)"
    assert within.ids == ("a", "b")
    assert not within.leaks


def test_files_that_cannot_be_read_are_no_copies_of_each_other() -> None:
    samples = table(("a", 0, "train", "", "empty"), ("b", 0, "test", "", "empty"))
    assert find_duplicates(samples)
    assert find_duplicates(samples.assign(status="unreadable")) == []


def test_groups_in_two_splits_are_named() -> None:
    samples = table(
        ("a", 0, "train", "p1", ""),
        ("b", 0, "test", "p1", ""),
        ("c", 0, "test", "p2", ""),
        ("d", 0, "train", "", ""),
        ("e", 0, "test", "", ""),
    )
    assert find_split_groups(samples) == {"p1": ("test", "train")}
