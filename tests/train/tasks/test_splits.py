"""Members of a run: groups whole, classes everywhere, fractions inside one another."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samcache.cache.errors import ConfigError
from samcache.cache.labels.units import number_groups
from samcache.train.tasks.question import Question
from samcache.train.tasks.splits import Member, draw_subset, name_member, plan_members

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)


def table(count: int, classes: int = 2, groups: int = 0, seed: int = 0) -> pd.DataFrame:
    """Samples in three splits; ``groups`` patients, or none known."""
    rng = np.random.default_rng(seed)
    group = [f"p{g}" for g in rng.integers(0, groups, count)] if groups else [""] * count
    split = np.resize(["train", "train", "val", "test"], count)
    label = rng.integers(0, classes, count)
    ids = [f"image{row}" for row in range(count)]
    columns = {"id": ids, "label": label, "split": split, "group": group, "sha256": ids}
    return pd.DataFrame(columns)


def parts(member: Member) -> tuple[set[int], set[int], set[int]]:
    train, val, test = (set(rows.tolist()) for rows in (member.train, member.val, member.test))
    return train, val, test


def test_without_folds_the_splits_are_the_stores() -> None:
    samples = table(40)
    first, second = plan_members(Question.of_classes(samples, ("a", "b")), (3, 4))
    assert (first.seed, first.fold, first.fraction, first.name) == (3, None, 1.0, "seed-3")
    for split, rows in zip(("train", "val", "test"), parts(second), strict=True):
        assert rows == set(np.flatnonzero(samples["split"] == split))


def test_fractions_that_are_nearly_the_same_have_files_of_their_own() -> None:
    names = [name_member(0, None, fraction) for fraction in (0.25, 0.3333331, 0.3333332, 1.0)]
    assert names[:2] == ["seed-0-fraction-0.25", "seed-0-fraction-0.3333331"]
    assert names[2:] == ["seed-0-fraction-0.3333332", "seed-0"]


@settings(deadline=None, max_examples=20)
@given(st.integers(120, 200), st.integers(2, 3), st.integers(50, 80), st.integers(2, 4))
def test_folds_hold_out_every_sample_once_and_keep_patients_whole(
    count: int, classes: int, groups: int, folds: int
) -> None:
    samples = table(count, classes, groups)
    members = plan_members(Question.of_classes(samples, tuple("abc"[:classes])), (0, 1), folds)
    for seed in (0, 1):
        tested = [parts(m)[2] for m in members if m.seed == seed]
        assert sorted(row for rows in tested for row in rows) == list(range(count))
    for member in members:
        patients = [set(samples["group"].iloc[list(rows)]) for rows in parts(member)]
        assert not (patients[0] & patients[1] | patients[0] & patients[2])
        assert not patients[1] & patients[2]
        assert all(samples["label"].iloc[list(r)].nunique() == classes for r in parts(member))


def test_folds_keep_copies_of_an_image_and_their_patients_together() -> None:
    samples = table(90, groups=45)
    before = plan_members(Question.of_classes(samples, ("a", "b")), (0,), 3)
    samples["sha256"] = samples["sha256"].replace({f"image{row}": "same" for row in (0, 1, 2, 3)})
    for member in plan_members(Question.of_classes(samples, ("a", "b")), (0,), 3):
        linked = set(samples["group"][:4])
        rows = set(np.flatnonzero(samples["group"].isin(linked)))
        assert any(rows <= part for part in parts(member))
    assert not all(any({0, 1, 2, 3} <= part for part in parts(m)) for m in before), "by chance"


def test_folds_are_the_same_for_every_seed() -> None:
    members = plan_members(Question.of_classes(table(60), ("a", "b")), (0, 1), 3)
    assert [m.name for m in members[:2]] == ["seed-0-fold-0", "seed-1-fold-0"]
    assert parts(members[0]) == parts(members[1])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=80),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_fractions_are_nested_whole_in_groups_and_keep_every_class(
    labels: list[int], groups: int, seed: int
) -> None:
    label = np.array(labels)
    group = np.random.default_rng(seed).integers(0, groups, len(label))
    subsets = [set(draw_subset(label, group, f, seed).tolist()) for f in FRACTIONS]
    for smaller, larger in pairwise(subsets):
        assert smaller <= larger
    for subset in subsets:
        chosen = np.isin(np.arange(len(label)), list(subset))
        assert not set(group[chosen]) & set(group[~chosen])
        assert set(label[chosen]) == set(labels)
    assert len(subsets[-1]) == len(label)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(5, 60), min_size=2, max_size=4), st.sampled_from(FRACTIONS))
def test_a_fraction_of_samples_without_groups_is_stratified(
    sizes: list[int], fraction: float
) -> None:
    label = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.bincount(label[draw_subset(label, np.arange(len(label)), fraction, 0)])
    for size, count in zip(sizes, counts, strict=True):
        assert abs(count - fraction * size) <= 1


def test_each_seed_draws_other_samples_for_a_fraction() -> None:
    members = plan_members(Question.of_classes(table(80), ("a", "b")), (0, 1), None, (0.25, 1.0))
    assert members[0].name == "seed-0-fraction-0.25"
    assert parts(members[0])[0] != parts(members[1])[0]
    assert parts(members[0])[1:] == parts(members[1])[1:] == parts(members[2])[1:]


def test_samples_without_a_group_stand_alone_whatever_their_order() -> None:
    samples = pd.DataFrame({"id": ["d", "c", "b", "a"], "group": ["", "", "p", "p"]})
    codes = number_groups(samples)
    assert codes[2] == codes[3]
    assert len(set(codes.tolist())) == 3
    np.testing.assert_array_equal(number_groups(samples[::-1]), codes[::-1])


def test_what_a_sample_is_in_a_member() -> None:
    member = plan_members(Question.of_classes(table(40), ("a", "b")), (0,), None, (0.3,))[0]
    roles = member.assign_roles(40)
    assert set(roles) == {"train", "val", "test", ""}
    assert (roles == "train").sum() == len(member.train)


@pytest.mark.parametrize(
    ("seeds", "folds", "fractions", "message"),
    [
        ((), None, (1.0,), "seeds '' should name at least one"),
        ((1, 1), None, (1.0,), "each once"),
        ((1,), None, (0.0, 1.0), r"fractions 0,1: each should be in"),
        ((1,), None, (1.5,), r"fractions 1.5: each"),
        ((1,), 30, (1.0,), "at most . folds"),
        ((-1,), None, (1.0,), r"seeds -1: each should be in"),
        ((2**32,), None, (1.0,), r"seeds 4294967296: each should be in"),
    ],
)
def test_choices_that_make_no_sense_are_refused(
    seeds: tuple[int, ...], folds: int | None, fractions: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_members(Question.of_classes(table(12), ("a", "b")), seeds, folds, fractions)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="all samples are of one class, 'only'"):
        plan_members(Question.of_classes(table(12).assign(label=0), ("only",)), (0,))
